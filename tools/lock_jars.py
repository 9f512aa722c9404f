"""Resolve the Java libraries once and write `tillstream/devstack/jars.lock`.

    python tools/lock_jars.py

Needs `mvn` on PATH and Maven Central. Only whoever changes a version below runs this; the product
reads the lock and never needs Maven.
"""

import hashlib
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.sax.saxutils import escape

import pyspark

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "tillstream" / "devstack" / "jars.lock"
CENTRAL = "https://repo.maven.apache.org/maven2"

GROUPS: dict[str, tuple[str, ...]] = {
    "kafka": (
        "org.apache.kafka:kafka_2.13:4.1.1",
        # The binding the Kafka distribution itself uses: Kafka logs through SLF4J 1.7.
        "org.apache.logging.log4j:log4j-slf4j-impl:2.25.1",
        "org.apache.logging.log4j:log4j-core:2.25.1",
    ),
    "spark": (
        "org.apache.spark:spark-sql-kafka-0-10_2.13:4.0.0",
        "org.apache.spark:spark-avro_2.13:4.0.0",
        # A local file system that does not start `chmod` for every file it writes.
        "com.globalmentor:hadoop-bare-naked-local-fs:0.1.0",
    ),
}

POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>tillstream</groupId><artifactId>lock-{group}</artifactId><version>1</version>
  <packaging>pom</packaging>
  <dependencies>{dependencies}</dependencies>
</project>
"""
SETTINGS = f"""<settings><mirrors><mirror>
  <id>central</id><mirrorOf>*</mirrorOf><url>{CENTRAL}</url>
</mirror></mirrors></settings>
"""

HEADER = """\
# Written by tools/lock_jars.py; do not edit. One jar a line: group, Maven path, SHA-256, bytes.
# kafka: the class path of the local broker. spark: what Spark's Kafka and Avro sources need beyond
# the jars that pyspark ships.
"""


def runtime_jars(group: str, coordinates: tuple[str, ...], *, folder: Path) -> list[Path]:
    """Every jar of the runtime tree, as paths inside `folder/repository`."""
    dependencies = ""
    for coordinate in coordinates:
        names = zip(("groupId", "artifactId", "version"), coordinate.split(":"), strict=True)
        inner = "".join(f"<{tag}>{escape(value)}</{tag}>" for tag, value in names)
        dependencies += f"<dependency>{inner}</dependency>"
    pom, settings, listing = folder / f"{group}.xml", folder / "settings.xml", folder / group
    pom.write_text(POM.format(group=group, dependencies=dependencies), encoding="utf-8")
    settings.write_text(SETTINGS, encoding="utf-8")
    subprocess.run(
        [
            *("mvn", "-B", "-q", "-f", str(pom), "-s", str(settings)),
            f"-Dmaven.repo.local={folder / 'repository'}",
            "dependency:build-classpath",
            "-DincludeScope=runtime",
            f"-Dmdep.outputFile={listing}",
        ],
        check=True,
    )
    return [Path(entry) for entry in listing.read_text(encoding="utf-8").strip().split(":")]


def library(jar_name: str) -> str:
    """The artifact name without its version: `lz4-java-1.8.0.jar` -> `lz4-java`."""
    return re.sub(r"-\d[\w.]*(-\d+|-[A-Za-z][\w.]*)?\.jar$", "", jar_name)


def main() -> int:
    shipped = {library(jar.name) for jar in (Path(pyspark.__file__).parent / "jars").glob("*.jar")}
    lines = []
    with tempfile.TemporaryDirectory() as temp:
        folder = Path(temp)
        for group, coordinates in GROUPS.items():
            for jar in sorted(runtime_jars(group, coordinates, folder=folder)):
                if group == "spark" and library(jar.name) in shipped:
                    continue
                body = jar.read_bytes()
                path = jar.relative_to(folder / "repository").as_posix()
                lines.append(f"{group} {path} {hashlib.sha256(body).hexdigest()} {len(body)}")
    LOCK.write_text(HEADER + "\n".join(lines) + "\n", encoding="utf-8")
    sys.stdout.write(f"{LOCK.relative_to(ROOT)}: {len(lines)} jars\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
