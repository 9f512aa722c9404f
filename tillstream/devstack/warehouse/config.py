"""The embedded engine's server configuration."""

from pathlib import Path

# Merging parts in the background takes more processor time than inserting them, so merge fewer
# times: with the base of 5, a stream of small inserts has each row rewritten three times as often.
# The price is some 15 parts more a partition. Column statistics would be computed in every merge.
_MERGE_TREE = {"merge_selector_base": "15", "auto_statistics_types": ""}
# Merges give way to queries and inserts.
_MERGES_NICE = 10
# Shares of the memory limit. Caches shrink when queries need the memory.
_CACHES = {
    "mark_cache_size": 8,
    "primary_index_cache_size": 8,
    "index_mark_cache_size": 32,
    "query_condition_cache_size": 64,
    "compiled_expression_cache_size": 32,
}


def write_config(path: Path, *, memory_mb: int) -> None:
    """Write the configuration file of an engine that may take `memory_mb` in all."""
    memory_bytes = memory_mb << 20
    server = {
        "max_server_memory_usage": str(memory_bytes),
        "os_threads_nice_value_merge_mutate": str(_MERGES_NICE),
    }
    server |= {name: str(memory_bytes // share) for name, share in _CACHES.items()}
    lines = [f"  <{name}>{value}</{name}>" for name, value in server.items()]
    defaults = "".join(f"<{name}>{value}</{name}>" for name, value in _MERGE_TREE.items())
    lines.append(f"  <merge_tree>{defaults}</merge_tree>")
    path.write_text("\n".join(["<clickhouse>", *lines, "</clickhouse>", ""]), encoding="utf-8")
