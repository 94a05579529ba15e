"""The tables.

Events are the truth; ``operations`` repeats what is asked for often, to be found quickly.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

REVISION = "0010"
"""The newest migration; a test holds it equal to what alembic finds."""

ALIVE = "alive"
"""The note of when a bot was last at work here."""

metadata = MetaData()

requests = Table(
    "requests",
    metadata,
    # The order, which no clock can turn round
    Column("arrived", Integer, primary_key=True, autoincrement=True),
    Column("key", String, nullable=False, unique=True),
    Column("kind", String, nullable=False),
    Column("data", Text, nullable=False),
    # ISO 8601, UTC: sorts as it reads, in every database
    Column("accepted_at", String, nullable=False),
    Column("handled_at", String),
    Column("replica", String),  # whose it is to handle; NULL: anybody's
)
Index(
    "requests_waiting",
    requests.c.arrived,
    sqlite_where=requests.c.handled_at.is_(None),
    postgresql_where=requests.c.handled_at.is_(None),
)

operations = Table(
    "operations",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("origin_key", String, unique=True),  # NULL: nothing to recognise a duplicate by
    Column("state", String, nullable=False, index=True),
    Column("version", Integer, nullable=False),
    Column("requester", String, nullable=False, index=True),
)

events = Table(
    "events",
    metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False),  # 1, 2, 3… without a gap
    Column("operation", Integer, ForeignKey("operations.number"), nullable=False),
    Column("seq", Integer, nullable=False),
    Column("at", String, nullable=False),
    Column("by", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("data", Text, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    UniqueConstraint("operation", "seq"),
)

head = Table(  # one row: where the chain of events ends, and the last number given to an operation
    "head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("position", BigInteger, nullable=False),
    Column("hash", String(64), nullable=False),
    Column("number", Integer, nullable=False),
)

operation_vms = Table(
    "operation_vms",
    metadata,
    Column("uuid", String, primary_key=True),
    Column("operation", Integer, ForeignKey("operations.number"), primary_key=True),
)

copies = Table(
    "copies",
    metadata,
    Column("operation", Integer, ForeignKey("operations.number"), primary_key=True),
    Column("channel", String, primary_key=True),
    Column("ts", String, primary_key=True),
)

maintenance = Table(
    "maintenance", metadata, Column("host", String, primary_key=True), Column("since", String)
)

claims = Table(
    "claims",
    metadata,
    Column("key", String, primary_key=True),
    Column("at", String, nullable=False),
)

outbox = Table(  # what is still to be said in the chat; a row goes when it was said
    "outbox",
    metadata,
    # The order in which it is said
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("key", String, nullable=False, unique=True),
    Column("data", Text, nullable=False),
    Column("replica", String, nullable=False),  # whose it is to say
)

definitions = Table(  # of VMs, the newest versions of each
    "definitions",
    metadata,
    Column("uuid", String, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("host", String, nullable=False),
    Column("data", Text, nullable=False),
    Column("mark", String),  # by which it is known to be unchanged; NULL: not known
    Column("seen_at", String),  # when it was last told so, ISO 8601; NULL: as the data says
)

holds = Table(  # hosts that failed: nothing is started there
    "holds",
    metadata,
    Column("host", String, primary_key=True),
    Column("data", Text, nullable=False),
)

bonds = Table(  # which power controller was shown to be whose
    "bonds",
    metadata,
    Column("host", String, primary_key=True),
    Column("device", String, primary_key=True),
    Column("data", Text, nullable=False),
)

variables = Table(  # copies of VMs' UEFI variables
    "variables",
    metadata,
    Column("uuid", String, primary_key=True),
    Column("data", Text, nullable=False),
)

last_seen = Table(  # what was last read of each host while it answered
    "last_seen",
    metadata,
    Column("host", String, primary_key=True),
    Column("data", Text, nullable=False),
)

replicas = Table(
    "replicas",
    metadata,
    Column("name", String, primary_key=True),
    Column("beats", BigInteger, nullable=False),
    Column("epoch", String),  # which process is this replica; '': none, it was taken for dead
)

leases = (
    Table(  # which replica measures a host, and what it measured; seconds of the database's clock
        "leases",
        metadata,
        Column("host", String, primary_key=True),
        Column("replica", String, nullable=False),  # '': it was given up
        Column("leased_at", Float, nullable=False),
        Column("measured_at", Float),
        Column("data", Text),
    )
)

# The history. Whole numbers in small units (millicores, KiB, KiB/s), which SQLite keeps in one to
# four bytes each; without row ids, because the keys are all there is to find a row by.

METRICS = ("cpu", "wait", "memory", "disk", "net", "space")
KINDS = ("mean", "p95", "peak")

measured = Table(
    "measured",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("entity", String, nullable=False, unique=True),
)

# By time first: written at the end, read a few minutes at a time, dropped at the front
raw = Table(
    "raw",
    metadata,
    Column("at", BigInteger, primary_key=True, autoincrement=False),
    Column("entity", Integer, ForeignKey("measured.id"), primary_key=True, autoincrement=False),
    *(Column(metric, BigInteger) for metric in METRICS),
    sqlite_with_rowid=False,
)

rollups = Table(  # by entity first: a chart reads one of them
    "rollups",
    metadata,
    Column("entity", Integer, ForeignKey("measured.id"), primary_key=True, autoincrement=False),
    Column("span", Integer, primary_key=True, autoincrement=False),  # seconds
    Column("at", BigInteger, primary_key=True, autoincrement=False),
    Column("count", Integer, nullable=False),
    *(Column(f"{metric}_{kind}", BigInteger) for metric in METRICS for kind in KINDS),
    sqlite_with_rowid=False,
)

notes = Table(
    "notes",
    metadata,
    Column("key", String, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("text", Text, nullable=False),
)
