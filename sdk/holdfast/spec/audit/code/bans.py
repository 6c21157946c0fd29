"""What workflow code may not touch, by dotted path, and what to use in its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from holdfast.spec.audit.code.values import PATHS, words

CLOCK, CHANCE, IO, THREADS, SLEEP = "HF-A020", "HF-A021", "HF-A022", "HF-A023", "HF-A024"
ENVIRONMENT, OUTPUT, ORDER, PROCESS = "HF-A025", "HF-A029", "HF-A030", "HF-A031"

REASONS: Final[Mapping[str, str]] = {
    CLOCK: "reads a clock: a replay would see another time",
    CHANCE: "draws at random: a replay would draw something else",
    IO: "does I/O: a replay would do it again, and may see something else",
    THREADS: "leaves the workflow's own loop: a replay would see another order",
    SLEEP: "blocks the worker, and a replay would sleep again",
    ENVIRONMENT: "reads where it runs: another worker would see something else",
    OUTPUT: "is repeated by every replay",
    ORDER: "gives tasks in an order that a replay would not repeat",
    PROCESS: "gives another value in every process",
}

FIXES: Final[Mapping[str, str]] = {
    CLOCK: "Use {now}.",
    CHANCE: "Use {random}.",
    IO: "Do it in {step} and await its result.",
    THREADS: "Call {step}, which may use threads; to do several things at once use asyncio.gather.",
    SLEEP: "Use `await asyncio.sleep(...)`: it lasts over restarts, for months if need be.",
    ENVIRONMENT: "Read it in {step}, or pass it as an argument of the workflow.",
    OUTPUT: "Print in {step}, or use temporalio's `workflow.logger`, which is silent in replays.",
    ORDER: "Use asyncio.gather, or `wait` and `as_completed` of temporalio.workflow, which keep an order.",
    PROCESS: "Compare or sort by the values themselves, or use hashlib.",
}

_UUID = "Use {uuid4}."
_SECRET = "Make it in {step}: what a workflow draws can be computed again from its history."


class Ban(NamedTuple):
    """A rule that something breaks."""

    code: str
    fix: str


def _bans(code: str, holder: str, names: str, fix: str | None = None) -> dict[str, Ban]:
    return {f"{holder}.{name}": Ban(code, fix or FIXES[code]) for name in names.split()}


_READ_PATH = (
    "exists is_file is_dir is_mount is_symlink is_socket is_fifo is_block_device is_char_device stat lstat owner group "
    "open read_text read_bytes write_text write_bytes iterdir glob rglob walk mkdir rmdir unlink rename replace touch "
    "chmod lchmod symlink_to hardlink_to link_to samefile readlink resolve expanduser cwd home"
)

_EXACT: Final[Mapping[str, Ban]] = {
    **_bans(
        CLOCK,
        "time",
        "time time_ns monotonic monotonic_ns perf_counter perf_counter_ns process_time process_time_ns thread_time "
        "thread_time_ns localtime gmtime ctime asctime strftime clock_gettime clock_gettime_ns",
    ),
    **_bans(CLOCK, "datetime.datetime", "now utcnow today"),
    **_bans(CLOCK, "datetime.date", "today"),
    **_bans(CLOCK, "pendulum", "now today tomorrow yesterday"),
    **_bans(CLOCK, "arrow", "now utcnow"),
    **_bans(CLOCK, "pandas.Timestamp", "now today utcnow"),
    **_bans(CLOCK, "django.utils.timezone", "now localdate localtime"),
    **_bans(CLOCK, "timeit", "default_timer timeit repeat"),
    **_bans(
        CHANCE,
        "random",
        "random randint randrange choice choices sample shuffle uniform triangular betavariate expovariate "
        "gammavariate gauss lognormvariate normalvariate vonmisesvariate paretovariate weibullvariate getrandbits "
        "randbytes seed binomialvariate Random SystemRandom",
    ),
    **_bans(
        CHANCE,
        "secrets",
        "choice randbelow randbits token_bytes token_hex token_urlsafe SystemRandom",
        _SECRET,
    ),
    **_bans(CHANCE, "uuid", "uuid1 uuid4 uuid6 uuid7 uuid8 getnode", _UUID),
    **_bans(CHANCE, "os", "urandom getrandom"),
    **_bans(CHANCE, "ssl", "RAND_bytes", _SECRET),
    **_bans(CHANCE, "cryptography.fernet.Fernet", "generate_key", _SECRET),
    **_bans(IO, "builtins", "open input breakpoint"),
    **_bans(IO, "io", "open open_code FileIO"),
    **_bans(IO, "codecs", "open"),
    **_bans(IO, "gzip", "open GzipFile"),
    **_bans(IO, "bz2", "open BZ2File"),
    **_bans(IO, "lzma", "open LZMAFile"),
    **_bans(IO, "getpass", "getpass"),
    **_bans(IO, "webbrowser", "open"),
    **_bans(IO, "asyncio", "open_connection start_server create_subprocess_exec create_subprocess_shell"),
    **_bans(IO, "asyncio", "open_unix_connection start_unix_server"),
    **_bans(
        IO,
        "os.path",
        "exists lexists isfile isdir islink ismount getsize getmtime getatime getctime realpath",
    ),
    **_bans(IO, "os.path", "abspath expanduser samefile"),
    **_bans(IO, "sys.stdin", "read readline readlines"),
    **_bans(IO, "temporalio.client.Client", "connect"),
    **_bans(IO, "pandas", "read_csv read_json read_excel read_parquet read_sql read_table read_html"),
    **_bans(IO, "numpy", "load loadtxt save savetxt savez genfromtxt fromfile"),
    **_bans(IO, "sqlalchemy", "create_engine"),
    **_bans(IO, "sqlalchemy.ext.asyncio", "create_async_engine"),
    **{f"{path}.{name}": Ban(IO, FIXES[IO]) for path in PATHS for name in _READ_PATH.split()},
    **_bans(THREADS, "asyncio", "to_thread run run_coroutine_threadsafe new_event_loop Runner"),
    **_bans(THREADS, "os", "fork forkpty"),
    **_bans(SLEEP, "time", "sleep"),
    **_bans(
        ENVIRONMENT, "os", "environ environb getenv getenvb putenv unsetenv getcwd getpid getppid getlogin"
    ),
    **_bans(ENVIRONMENT, "os", "cpu_count uname getuid getgid"),
    **_bans(ENVIRONMENT, "sys", "argv"),
    **_bans(ENVIRONMENT, "socket", "gethostname getfqdn"),
    **_bans(ENVIRONMENT, "platform", "node platform uname system release machine processor version"),
    **_bans(ENVIRONMENT, "getpass", "getuser"),
    **_bans(ENVIRONMENT, "dotenv", "load_dotenv dotenv_values"),
    **_bans(OUTPUT, "builtins", "print"),
    **_bans(OUTPUT, "pprint", "pprint pp"),
    **_bans(OUTPUT, "rich", "print"),
    **_bans(OUTPUT, "warnings", "warn"),
    **_bans(OUTPUT, "sys.stdout", "write writelines"),
    **_bans(OUTPUT, "sys.stderr", "write writelines"),
    **{
        path: Ban(OUTPUT, FIXES[OUTPUT])
        for holder in ("logging", "logging.getLogger()", "logging.Logger", "loguru.logger")
        for path in _bans(OUTPUT, holder, "debug info warning error exception critical log")
    },
    **_bans(ORDER, "asyncio", "wait as_completed"),
    **_bans(PROCESS, "builtins", "id hash"),
}
"""What may not even be referred to, since whoever gets it will call it."""

_LIBRARIES: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        words(
            "os shutil tempfile glob fileinput subprocess socket socketserver select selectors sqlite3 dbm shelve mmap "
            "urllib.request http.client http.server ftplib smtplib imaplib poplib xmlrpc.client zipfile tarfile "
            "linecache requests httpx httpx2 urllib3 aiohttp aiofiles websockets websocket paramiko asyncssh fabric "
            "psycopg psycopg2 asyncpg aiosqlite pymysql MySQLdb mysql.connector aiomysql oracledb pyodbc duckdb redis "
            "pymongo motor cassandra elasticsearch boto3 botocore aioboto3 kafka aiokafka confluent_kafka pika "
            "aio_pika nats grpc openai anthropic stripe twilio google.cloud sqlalchemy.orm holdfast.Client "
            "holdfast.client"
        ),
        IO,
    ),
    **dict.fromkeys(
        words("threading _thread multiprocessing concurrent.futures joblib signal sched pty"), THREADS
    ),
    **dict.fromkeys(("numpy.random", "faker"), CHANCE),
    "locale": ENVIRONMENT,
}
"""Libraries of which nothing may be called but what is excepted."""

_HARMLESS: Final = words(
    "os.fspath os.fsencode os.fsdecode os.path tempfile.gettempprefix socket.inet_aton socket.inet_ntoa "
    "socket.htons socket.ntohs glob.escape holdfast.client.run sqlalchemy.orm.mapped_column "
    "sqlalchemy.orm.relationship sqlalchemy.orm.DeclarativeBase numpy.random.default_rng numpy.random.RandomState "
    "numpy.random.Generator numpy.random.SeedSequence"
)
"""What is no such thing, with all below it."""

_PLAIN: Final = ("Error", "Exception", "Warning", "Timeout", "TimeoutExpired", "Limits", "URL", "Headers")
"""Endings of classes that only hold values."""

_NOW_UNLESS: Final[Mapping[str, int]] = {
    **{f"time.{name}": 1 for name in ("localtime", "gmtime", "ctime", "asctime")},
    "time.strftime": 2,
    "random.Random": 1,
    "uuid.uuid8": 3,
    "numpy.random.default_rng": 1,
    "numpy.random.RandomState": 1,
}
"""What depends on clock or chance only when it is called with fewer arguments."""


SOURCES: Final = (
    "random.Random.",
    "random.SystemRandom.",
    "numpy.random.default_rng().",
    "numpy.random.RandomState.",
)
"""Objects that draw: of the module's, every run draws, so that also a seeded one gives something else in a replay."""


def reference_ban(path: str) -> Ban | None:
    """The rule that naming it breaks."""
    return None if path in _NOW_UNLESS else _EXACT.get(path)


def call_ban(path: str, argument_count: int) -> Ban | None:
    """The rule that calling it breaks."""
    if path in _NOW_UNLESS:
        return None if argument_count >= _NOW_UNLESS[path] else _EXACT.get(path, Ban(CHANCE, FIXES[CHANCE]))
    if (ban := _EXACT.get(path)) is not None:
        return ban
    parts = path.split(".")
    prefixes = [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
    if any(
        prefix in _HARMLESS or prefix in _EXACT for prefix in prefixes
    ):  # what is below is reported by itself
        return None
    if parts[-1].endswith(_PLAIN) or "types" in parts:
        return None
    code = next((_LIBRARIES[prefix] for prefix in prefixes if prefix in _LIBRARIES), None)
    if code is None and parts[-1] in ("run_in_executor", "call_soon_threadsafe"):
        code = THREADS
    return Ban(code, FIXES[code]) if code is not None else None


def is_made_by_ban(path: str) -> bool:
    """Whether it is what a call returned that is reported already, so that its methods need not be."""
    made, call, _ = path.partition("()")
    return bool(call) and call_ban(made, 0) is not None
