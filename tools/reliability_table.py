"""Put the table of recorded chaos runs into docs/reliability.md.

python tools/reliability_table.py
"""

from pathlib import Path

from tillstream.chaos.record import embedded, markdown, read

DOCS = Path(__file__).resolve().parents[1] / "docs"


def main() -> None:
    document = DOCS / "reliability.md"
    text = document.read_text(encoding="utf-8")
    document.write_text(embedded(text, markdown(read(DOCS / "chaos.jsonl"))), encoding="utf-8")


if __name__ == "__main__":
    main()
