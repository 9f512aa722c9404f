"""From Kafka records to typed, judged events: one row in, one row out, nothing dropped.

Everything here runs in the JVM (Avro decoding, rules, identity, window), without Python workers.
"""

import json
from collections.abc import Mapping, Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.avro.functions import from_avro

from streaming.schemas import DECODED, Rules
from tillstream.contracts.catalogue import SchemaRef
from tillstream.contracts.topics import Topic

WINDOW_S = 300
_HEADER_BYTES = 5
_MONEY = "decimal(18,4)"
_WHITESPACE = " \t\n\r\f\v"
# Text columns of DECODED that come from the event itself.
_TEXTS = (
    *("identity", "store_id", "product_id", "transaction_id", "promotion_id"),
    *("payment_method", "customer_id", "kind"),
)
_AMOUNTS = ("revenue", "unit_price", "discount", "old_price", "new_price")

Schemas = Mapping[Topic, Sequence[SchemaRef]]


def decode(records: DataFrame, *, schemas: Schemas, rules: Rules) -> DataFrame:
    """`records` has Kafka's columns (topic, partition, offset, timestamp, key, value); the result
    has the columns of `streaming.schemas.DECODED`, with a `reason` on every row that is refused."""
    framed = records.select(
        "topic",
        "partition",
        "offset",
        F.col("timestamp").alias("arrival"),
        "key",
        "value",
        F.when(
            F.length("value") >= _HEADER_BYTES,
            F.conv(F.hex(F.substring("value", 2, 4)), 16, 10).cast("int"),
        ).alias("schema_id"),
        F.expr(f"substring(value, {_HEADER_BYTES + 1})").alias("datum"),
    )
    decoded = framed.select(
        "*", *(_decoded(topic, schemas[topic]).alias(_struct(topic)) for topic in schemas)
    )
    flat = decoded.select(*_flattened())
    return flat.select("*", *_judged(schemas, rules)).select(*_contract())


def _struct(topic: Topic) -> str:
    return f"as_{topic.name.lower()}"


def _decoded(topic: Topic, versions: Sequence[SchemaRef]) -> Column:
    """The event as the latest schema reads it; null when the bytes are not such an event."""
    latest = max(versions, key=lambda ref: ref.version).text
    is_framed = (F.col("topic") == topic.value) & (F.substring("value", 1, 1) == F.lit(b"\x00"))
    result: Column | None = None
    for ref in versions:
        options = {"mode": "PERMISSIVE", "avroSchema": latest}
        struct = from_avro(F.col("datum"), ref.text, options)
        matches = is_framed & (F.col("schema_id") == ref.id)
        result = F.when(matches, struct) if result is None else result.when(matches, struct)
    assert result is not None
    return result


def _first(*columns: Column) -> Column:
    return F.coalesce(*columns)


def _flattened() -> list[Column]:
    """One flat row from whichever of the four structs is filled."""
    sale, move = F.col("as_sales"), F.col("as_inventory")
    price, customer = F.col("as_prices"), F.col("as_customers")
    all_kinds = (sale, move, price, customer)

    def common(name: str) -> Column:
        return _first(*(kind[name] for kind in all_kinds))

    line_id = F.concat_ws(
        ":", sale["transaction_id"], sale["product_id"], sale["line_number"].cast("string")
    )
    identity = _first(
        F.when(sale["transaction_id"].isNotNull(), _first(sale["event_id"], line_id)),
        move["inventory_id"],
        price["price_change_id"],
        customer["event_id"],
    )
    by_unit = F.round(sale["quantity"] * sale["unit_price"], 4).cast(_MONEY)
    return [
        F.col("topic"),
        F.col("partition"),
        F.col("offset"),
        F.col("arrival"),
        F.col("key"),
        F.col("value"),
        F.col("schema_id"),
        identity.alias("identity"),
        common("store_id").alias("store_id"),
        common("product_id").alias("product_id"),
        common("timestamp").alias("event_time"),
        _first(sale["quantity"], move["quantity_change"]).alias("quantity"),
        _first(sale["line_amount"], by_unit).alias("revenue"),
        sale["unit_price"].alias("unit_price"),
        sale["discount"].alias("discount"),
        sale["transaction_id"].alias("transaction_id"),
        sale["line_number"].alias("line_number"),
        sale["promotion_id"].alias("promotion_id"),
        sale["payment_method"].alias("payment_method"),
        _first(sale["customer_id"], customer["customer_id"]).alias("customer_id"),
        move["new_quantity"].alias("quantity_on_hand"),
        _first(move["reason"], price["reason"], customer["event_type"]).alias("kind"),
        F.when(move["inventory_id"].isNotNull(), _first(move["sequence"], F.lit(0)))
        .cast("long")
        .alias("sequence"),
        price["old_price"].alias("old_price"),
        price["new_price"].alias("new_price"),
        price["effective_from"].alias("effective_from"),
        price["effective_to"].alias("effective_to"),
    ]


def _judged(schemas: Schemas, rules: Rules) -> list[Column]:
    verdict = F.lit(None).cast("struct<reason:string,detail:string>")
    for condition, reason, detail in reversed(_rules(schemas, rules)):
        found = F.struct(F.lit(reason).alias("reason"), detail.alias("detail"))
        verdict = F.when(condition, found).otherwise(verdict)
    window = F.timestamp_seconds(
        F.floor(F.unix_seconds("event_time") / WINDOW_S).cast("long") * WINDOW_S
    )
    # A store's partition holds all its events, so an identity is looked for within its store. The
    # length tells where the store ends, whatever characters it holds.
    parts = ("topic", F.length("store_id").cast("string"), "store_id", "identity")
    event_key = F.unhex(F.md5(F.concat_ws("|", *parts)))
    return [verdict.alias("verdict"), window.alias("window_start"), event_key.alias("event_key")]


def _rules(schemas: Schemas, rules: Rules) -> list[tuple[Column, str, Column]]:
    """(condition, reason, detail), the first match decides."""
    known_id = F.lit(False)
    for topic, versions in schemas.items():
        ids = [ref.id for ref in versions]
        known_id = known_id | ((F.col("topic") == topic.value) & F.col("schema_id").isin(ids))
    known = json.dumps({t.value: [ref.id for ref in refs] for t, refs in schemas.items()})
    size = F.length("value")
    first_byte = F.hex(F.substring("value", 1, 1))
    key = F.make_valid_utf8(F.col("key").cast("string"))
    latest = F.col("arrival") + F.expr(f"INTERVAL {rules.max_future_s} SECONDS")

    def shown(name: str) -> Column:
        return F.concat(F.lit(f"{name} = "), F.col(name).cast("string"))

    def outside(name: str, limit: int) -> Column:
        # Not abs(): the most negative number has none, and would pass.
        return (F.col(name) > limit) | (F.col(name) < -limit)

    def blank(text: Column) -> Column:
        return F.length(F.btrim(text, F.lit(_WHITESPACE))) == 0

    longest = F.greatest(*(F.coalesce(F.length(name), F.lit(0)) for name in _TEXTS))
    malformed = ~F.coalesce(F.is_valid_utf8(F.concat_ws("", *_TEXTS)), F.lit(True))
    return [
        (F.coalesce(size, F.lit(0)) == 0, "empty_value", F.lit("the record has no value")),
        (
            first_byte != "00",
            "bad_magic_byte",
            F.concat(F.lit("the first byte is 0x"), first_byte, F.lit(", not 0x00")),
        ),
        (
            size < _HEADER_BYTES,
            "undecodable",
            F.concat(F.lit("only "), size.cast("string"), F.lit(" bytes: no schema id")),
        ),
        (
            ~F.coalesce(known_id, F.lit(False)),  # an id beyond int is null
            "unknown_schema_id",
            F.concat(
                F.lit("schema id "),
                F.conv(F.hex(F.substring("value", 2, 4)), 16, 10),
                F.lit(f" is not one of this topic's: {known}"),
            ),
        ),
        (
            F.coalesce(blank(key), F.lit(True)),
            "blank_key",
            F.lit("the record has no key; it should be the store id"),
        ),
        (
            F.col("event_time").isNull() | F.col("store_id").isNull(),
            "undecodable",
            F.concat(
                F.lit("the bytes after the header are not the event of schema "),
                F.col("schema_id").cast("string"),
            ),
        ),
        (malformed, "undecodable", F.lit("a text field is not UTF-8")),
        (
            longest > rules.max_id_chars,
            "oversized_field",
            F.concat(
                F.lit("a text field has "),
                longest.cast("string"),
                F.lit(f" characters; at most {rules.max_id_chars} are allowed"),
            ),
        ),
        (
            blank(F.col("store_id"))
            | F.coalesce(blank(F.col("product_id")), F.lit(False))
            | blank(F.col("identity")),
            "blank_field",
            F.concat_ws(", ", shown("store_id"), shown("product_id"), shown("identity")),
        ),
        (
            key != F.col("store_id"),
            "key_mismatch",
            F.concat(
                F.lit("the key is "), F.left(key, F.lit(64)), F.lit(" but "), shown("store_id")
            ),
        ),
        (
            outside("quantity", rules.max_quantity)
            | outside("quantity_on_hand", rules.max_quantity),
            "impossible_quantity",
            F.concat_ws(", ", shown("quantity"), shown("quantity_on_hand")),
        ),
        (
            F.greatest(*(F.coalesce(outside(n, rules.max_amount), F.lit(False)) for n in _AMOUNTS))
            | (F.col("unit_price") < 0)
            | (F.col("old_price") < 0)
            | (F.col("new_price") < 0)
            | (F.col("transaction_id").isNotNull() & F.col("revenue").isNull())
            | (F.col("transaction_id").isNotNull() & F.col("unit_price").isNull()),
            "impossible_amount",
            F.concat_ws(", ", *(shown(name) for name in _AMOUNTS)),
        ),
        (
            F.col("event_time") > latest,
            "future_timestamp",
            F.concat(shown("event_time"), F.lit(", arrived "), F.col("arrival").cast("string")),
        ),
        (
            F.col("event_time") < F.lit(rules.oldest_event),
            "ancient_timestamp",
            F.concat(shown("event_time"), F.lit(f", before {rules.oldest_event:%Y-%m-%d}")),
        ),
    ]


def _contract() -> list[Column]:
    """A refused row has no texts: what its bytes hold there may not even be UTF-8."""
    columns = []
    for name in DECODED.names:
        if name in ("reason", "detail"):
            columns.append(F.col(f"verdict.{name}").alias(name))
        elif name in _TEXTS:
            columns.append(F.when(F.col("verdict").isNull(), F.col(name)).alias(name))
        else:
            columns.append(F.col(name))
    return columns
