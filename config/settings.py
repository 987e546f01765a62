"""Every setting of the product, in one class, read from the environment and `.env`.

What belongs here: what a setting is called, its type, default, meaning and checks. Nothing else
reads `FLUXHERO_…` variables; `config.loading` is how to obtain them.
"""

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from config.bounds import (
    MOST_BACKTEST_CASH,
    MOST_BASIS_POINTS,
    MOST_BATCH_ROWS,
    MOST_COUNT,
    MOST_DAYS,
    MOST_MEBIBYTES,
    MOST_MONEY,
    MOST_SECONDS,
)
from config.kinds import (
    AlertUrls,
    DaskScheduler,
    ExchangeCode,
    File,
    Folder,
    Fraction,
    Hosts,
    HttpUrl,
    Networks,
    Origins,
    Paths,
    Programs,
    PromFile,
    Rate,
    StoreUrl,
    UpperCase,
    Weights,
    ZoneName,
)
from config.variables import PREFIX, SettingsError, variable

__all__ = ["PREFIX", "Settings", "SettingsError", "StoreKind", "variable"]

StoreKind = Literal["duckdb", "sqlite"]
# Trust in the numbers first, then whether one can live with the engine.
_WEIGHTS = tuple(
    (name, Decimal(weight))
    for name, weight in (
        ("agreement", 5),
        ("native-agreement", 3),
        ("speed", 3),
        ("costs", 2),
        ("next-bar-fill", 2),
        ("walk-forward", 2),
        ("data", 1),
        ("metrics", 1),
        ("memory", 1),
        ("import", 1),
        ("dependencies", 1),
        ("python", 1),
        ("licence", 3),
        ("activity", 2),
    )
)


class Settings(BaseSettings):
    """The settings; a field `retention_days` is the variable `FLUXHERO_RETENTION_DAYS`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file_encoding="utf-8-sig",
        env_ignore_empty=True,
        extra="ignore",  # a .env also serves other programs; config.loading checks our own names
        frozen=True,
        validate_default=True,
        hide_input_in_errors=True,
    )

    data_dir: Folder = Field(
        Path("data"), description="Folder of everything the pipeline keeps; created when missing."
    )
    store_url: StoreUrl = Field(
        default_factory=lambda given: f"duckdb:///{given['data_dir'] / 'fluxhero.duckdb'}",
        description="Hot store: duckdb:///file (created when missing) or sqlite:///path/to/system.db"
        " (a FluxHero store, used in place). Three slashes: relative path; four: absolute."
        " Default: fluxhero.duckdb in FLUXHERO_DATA_DIR.",
        json_schema_extra={"default": "duckdb:///data/fluxhero.duckdb"},
    )
    archive_dir: Folder = Field(
        default_factory=lambda given: given["data_dir"] / "archive",
        description="Folder of the Parquet archive and its manifests; worth a backup."
        " Default: archive in FLUXHERO_DATA_DIR.",
        json_schema_extra={"default": "data/archive"},
    )
    cache_dir: Folder = Field(
        default_factory=lambda given: given["data_dir"] / "cache",
        description="Folder of downloaded and scratch files; safe to delete."
        " Default: cache in FLUXHERO_DATA_DIR.",
        json_schema_extra={"default": "data/cache"},
    )
    archive_mirror_dir: Folder | None = Field(
        None,
        description="Folder of a second copy of the archive's files, best on another disk; kept by the"
        " archive flow, used by `fluxhero check --repair`. Empty: no second copy.",
    )
    lock_timeout_seconds: float = Field(
        60,
        ge=0,
        le=MOST_SECONDS,
        allow_inf_nan=False,
        description="Seconds to wait for a hot store that another process holds.",
    )

    retention_days: int = Field(
        30,
        ge=0,
        le=MOST_DAYS,
        description="Closed trades older than this many days move to the archive.",
    )
    hold_days: int = Field(
        30,
        ge=0,
        le=MOST_DAYS,
        description="Days that a restored or held trade stays in the hot store.",
    )
    batch_rows: int = Field(
        131_072,
        ge=1,
        le=MOST_BATCH_ROWS,
        description="Most rows in one archive batch; bounds memory, not results.",
    )
    source_timezone: ZoneName = Field(
        "UTC", description="IANA time zone in which times without an offset were written."
    )
    initial_capital: Decimal = Field(
        Decimal(100_000),
        gt=0,
        le=MOST_MONEY,
        allow_inf_nan=False,
        description="Account value before the first trade; drawdown and returns start from it.",
    )

    scrub_days: int = Field(
        7,
        ge=1,
        le=MOST_DAYS,
        description="Days within which daily storage checks have read every byte of the archive.",
    )
    pnl_tolerance: Decimal = Field(
        Decimal("0.005"),
        ge=0,
        allow_inf_nan=False,
        description="Money by which a recorded result may differ from its prices, quantity and fees.",
    )
    exchange: ExchangeCode = Field(
        "XNYS", description="Exchange whose calendar bars follow, by its ISO 10383 code."
    )

    api_host: str = Field("127.0.0.1", description="Address the operations API listens on.")
    api_port: int = Field(8400, ge=1, le=65_535, description="Port the operations API listens on.")
    auth_secret: SecretStr | None = Field(
        None,
        description="Token that gives access to the operations API, 32 characters or more; several,"
        " separated by commas, while one takes the place of another. Empty: FLUXHERO_AUTH_SECRET_FILE.",
    )
    auth_secret_file: File = Field(
        default_factory=lambda given: given["data_dir"] / "auth-secret",
        description="File of that token, made by `fluxhero doctor --make-secret`; only its owner may read"
        " it. Default: auth-secret in FLUXHERO_DATA_DIR.",
        json_schema_extra={"default": "data/auth-secret"},
    )
    auth_failures: Rate = Field(
        "10/minute",
        description="Wrong tokens allowed per client before it has to wait: number/second, minute, …",
    )
    rate_limit: Rate = Field(
        "120/minute", description="Requests allowed per client: number/second, minute, hour or day."
    )
    cors_origins: Origins = Field(
        (),
        description="Web origins, other than its own, allowed to call the operations API and open its"
        " WebSocket, separated by commas.",
    )
    allowed_hosts: Hosts = Field(
        (),
        description="Host names, beside the address it listens on and localhost, under which the"
        " operations API answers, separated by commas.",
    )
    trusted_proxies: Networks = Field(
        (),
        description="Addresses or networks of reverse proxies whose X-Forwarded-For is believed,"
        " separated by commas.",
    )
    prefect_ui_url: HttpUrl | None = Field(
        None,
        description="Where the operations page finds the Prefect UI. Empty: where its API is.",
    )
    metrics_textfile: PromFile | None = Field(
        None,
        description="File that each snapshot writes for Prometheus' node exporter, ending in .prom, in its"
        " textfile folder. Empty: none.",
    )

    alpaca_api_url: HttpUrl = Field(
        "https://paper-api.alpaca.markets", description="Broker API; the default is paper trading."
    )
    alpaca_data_url: HttpUrl = Field(
        "https://data.alpaca.markets", description="Market data API of the broker."
    )
    alpaca_api_key: SecretStr | None = Field(None, description="Key identifier for both.")
    alpaca_api_secret: SecretStr | None = Field(None, description="Secret belonging to the key.")

    max_risk_pct_trend: Fraction = Field(
        Decimal("0.01"), description="Most capital at risk in one trend trade, as a fraction."
    )
    max_risk_pct_mean_rev: Fraction = Field(
        Decimal("0.0075"), description="Most capital at risk in one mean-reversion trade."
    )
    max_position_size_pct: Fraction = Field(
        Decimal("0.20"), description="Largest single position, as a fraction of capital."
    )
    max_total_exposure_pct: Fraction = Field(
        Decimal("0.50"), description="Largest sum of open positions, as a fraction of capital."
    )
    max_open_positions: int = Field(
        5, ge=1, le=MOST_COUNT, description="Most positions open at one time."
    )
    correlation_threshold: Fraction = Field(
        Decimal("0.7"),
        description="Correlation from which two positions count as one risk; published, not checked.",
    )
    drawdown_warning_pct: Fraction = Field(
        Decimal("0.15"), description="Drawdown that raises a warning, as a fraction of the peak."
    )
    drawdown_critical_pct: Fraction = Field(
        Decimal("0.20"), description="Drawdown that raises a critical alert; not below the warning."
    )

    backtest_cash: Decimal = Field(
        Decimal(100_000),
        gt=0,
        le=MOST_BACKTEST_CASH,
        allow_inf_nan=False,
        description="Cash of a backtest before its first bar.",
    )
    backtest_commission: Decimal = Field(
        Decimal("0.005"),
        ge=0,
        le=100,
        decimal_places=8,
        description="Commission of a backtest a share.",
    )
    backtest_slippage_bp: int = Field(
        1,
        ge=0,
        le=MOST_BASIS_POINTS,
        description="Basis points by which an order of a backtest fills worse than the open.",
    )
    risk_free_rate: Decimal = Field(
        Decimal("0.04"),
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Yearly risk-free rate of Sharpe ratios; 1/252 of it counts for a day.",
    )
    evaluation_weights: Weights = Field(
        _WEIGHTS,
        description="What each criterion of the engines' comparison weighs: name=weight, separated by commas.",
        json_schema_extra={"default": ",".join(f"{name}={weight}" for name, weight in _WEIGHTS)},
    )
    engines_dir: Folder = Field(
        default_factory=lambda given: given["data_dir"] / "engines",
        description="Folder of the environments that backtesting engines run in; safe to delete."
        " Default: engines in FLUXHERO_DATA_DIR.",
        json_schema_extra={"default": "data/engines"},
    )
    engine_pythons: Programs = Field(
        (),
        description="Interpreters to use instead of those environments: engine=/path/to/python, separated"
        " by commas.",
    )
    engine_timeout_seconds: float = Field(
        180,
        gt=0,
        le=MOST_SECONDS,
        allow_inf_nan=False,
        description="Seconds one backtest of one engine, or one strategy, may take.",
    )
    engine_memory_mb: int = Field(
        4096,
        ge=256,
        le=MOST_MEBIBYTES,
        description="MiB of memory an engine's or a strategy's process may take.",
    )

    prefect_host: str = Field(
        "127.0.0.1", description="Address the night shift's Prefect server listens on."
    )
    prefect_port: int = Field(
        4200,
        ge=1,
        le=65_535,
        description="Port the night shift's Prefect server listens on. Where nothing is set, the next"
        " free one is taken if it is in use; the same goes for FLUXHERO_API_PORT.",
    )
    history_days: int = Field(
        30,
        ge=1,
        le=MOST_DAYS,
        description="Days the night shift's Prefect server keeps ended runs and their logs; their events it"
        " keeps three days at most.",
    )
    run_limit_minutes: int = Field(
        120,
        ge=1,
        le=MOST_SECONDS // 60,
        description="Minutes after which a scheduled run that has not ended is taken for hanging and ended.",
    )
    nightly_imports: Paths = Field(
        (),
        description="Files and folders that the nightly run brings in first, separated by commas. Empty:"
        " none, the bot writes the hot store itself.",
    )
    nightly_broker: bool = Field(
        False,
        description="Whether the nightly run fetches the account's orders and activities from the broker first,"
        " with FLUXHERO_ALPACA_API_URL and its keys.",
    )
    dask_scheduler: DaskScheduler | None = Field(
        None,
        description="Where sweeps of backtests are computed: local (a Dask cluster of this machine's cores),"
        " or tcp://host:8786 of a Dask scheduler. Empty: threads of the run's own process.",
    )

    alert_urls: AlertUrls = Field(
        (),
        description="Where alerts are sent, as Apprise URLs separated by spaces or commas: mailtos://,"
        " tgram://, discord://, ntfys://, jsons:// and others; docs/alerts.md has one of each. Empty: they"
        " are kept and shown, and sent nowhere.",
    )

    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], UpperCase] = Field(
        "INFO", description="Least severe log record shown: DEBUG, INFO, WARNING or ERROR."
    )
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="json lines, console text, or auto: text on a terminal, else json."
    )

    @property
    def store_kind(self) -> StoreKind:
        """Which adapter opens the hot store."""
        return "sqlite" if self.store_url.startswith("sqlite:") else "duckdb"

    @property
    def store_path(self) -> Path:
        """Absolute path of the hot store's file."""
        return Path(self.store_url.split(":///", 1)[1])

    @property
    def timezone(self) -> ZoneInfo:
        """The source time zone as an object."""
        return ZoneInfo(self.source_timezone)

    @field_validator("drawdown_critical_pct")
    @classmethod
    def _not_below_warning(cls, critical: Decimal, info: Any) -> Decimal:
        warning = info.data.get("drawdown_warning_pct")
        if warning is not None and critical < warning:
            raise ValueError(f"should not be below {variable('drawdown_warning_pct')}={warning}")
        return critical
