"""One settings file: what differs between places is an environment variable (see env.py)."""

from celery.schedules import crontab
from corsheaders.defaults import default_headers
from kombu import Queue

from config import env
from config.embedded import paths

BASE_DIR = env.BASE_DIR
TASKLOOM_HOME = env.home()

# --- Apps -------------------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "accounts",
    "core",
    "config",
    "notifications",
    "credits",
    "integrations",
    "files",
    "graphs",
    "library",
    "executions",
    "builder",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "corsheaders",
    "django_celery_beat",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
]
AUTH_USER_MODEL = "accounts.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
PASSWORD_RESET_TIMEOUT = 3600
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- HTTP -------------------------------------------------------------------------------------------------------

SECRET_KEY = env.secret("DJANGO_SECRET_KEY")
DEBUG = env.flag("DJANGO_DEBUG")
ALLOWED_HOSTS = env.names("DJANGO_ALLOWED_HOSTS")
CSRF_TRUSTED_ORIGINS = env.names("DJANGO_CSRF_TRUSTED_ORIGINS")
PLATFORM_BASE_URL = env.base_url("PLATFORM_BASE_URL")
ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
MIDDLEWARE = [
    "core.middleware.response_headers",
    "corsheaders.middleware.CorsMiddleware",
    "core.middleware.Packing",
    "core.middleware.announced_length",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "core.middleware.Common",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "strict-origin-when-cross-origin"
# Which sites' pages may use the interface. The admin site works with cookies, and no other site may read its pages.
CORS_ALLOWED_ORIGINS, CORS_ALLOWED_ORIGIN_REGEXES = env.origins("TASKLOOM_CORS_ORIGINS")
CORS_URLS_REGEX = r"^/(api/|external-api/|health$)"
CORS_ALLOW_CREDENTIALS = True
CORS_ALLOW_HEADERS = [
    *default_headers,
    "idempotency-key",
    "if-match",
    "if-none-match",
    "last-event-id",
    "x-act-as-user-id",
    "x-api-key",
    "x-request-id",
]
CORS_EXPOSE_HEADERS = [
    "etag",
    "ratelimit-limit",
    "ratelimit-remaining",
    "ratelimit-reset",
    "retry-after",
    "x-current-page",
    "x-next-cursor",
    "x-page-size",
    "x-request-id",
    "x-total-items",
    "x-total-pages",
]
PROXIES = env.number("TASKLOOM_PROXIES")
# The proxy in front ends TLS and says so in this header, which it must set itself on every request.
HTTPS = env.flag("DJANGO_HTTPS")
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_SSL_REDIRECT = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^health$", r"^metrics$"]
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
DATA_UPLOAD_MAX_MEMORY_SIZE = 10 * 1024 * 1024
UPLOAD_MB = env.number("TASKLOOM_UPLOAD_MB", least=1)
# Where more than 10 MB may come in, and how many bytes: a file and the form around it.
LARGE_BODIES = {"/api/files/upload": UPLOAD_MB * 1024 * 1024 + 64 * 1024}
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
STATIC_URL = "static/"
STATIC_ROOT = TASKLOOM_HOME / "static"
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False
WHITENOISE_ALLOW_ALL_ORIGINS = False
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
FORMAT_MODULE_PATH = "config.formats"

# --- Files ------------------------------------------------------------------------------------------------------

STORAGES = {
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    "files": env.file_storage("TASKLOOM_FILES_URL"),
}
FILE_QUOTA_MB = env.number("TASKLOOM_FILE_QUOTA_MB")
RUN_FILE_HOURS = env.number("TASKLOOM_RUN_FILE_HOURS")
CLAMD_URL = env.text("TASKLOOM_CLAMD_URL")

# --- Metrics ----------------------------------------------------------------------------------------------------

METRICS_TOKEN = env.text("TASKLOOM_METRICS_TOKEN")

# --- Postgres ---------------------------------------------------------------------------------------------------

DATABASE_URL = env.server("DATABASE_URL", "postgresql", "postgres") or paths.database_url(TASKLOOM_HOME)
_postgres = env.database(DATABASE_URL)
DB_POOL_SIZE = env.number("TASKLOOM_DB_POOL_SIZE", least=1)
DATABASES = {
    "default": {
        **_postgres,
        "ENGINE": "core.postgres",
        # Under ASGI a thread serves each request, so kept connections would pile up: the pool holds them instead.
        "CONN_MAX_AGE": 0,
        "OPTIONS": {
            # Without a number psycopg prepares nothing at all; Django's own cursors do not, whatever it is.
            "prepare_threshold": 5,
            **_postgres.get("OPTIONS", {}),
            "pool": {"min_size": 0, "max_size": DB_POOL_SIZE, "timeout": 5},
        },
    },
}

# --- Redis and Celery -------------------------------------------------------------------------------------------

REDIS_URL = env.server("REDIS_URL", "redis", "rediss", "unix") or paths.redis_url(TASKLOOM_HOME)
_BROKERS = ("amqp", "amqps", "pyamqp", "redis", "rediss", "redis+socket", "sentinel")
CELERY_BROKER_URL = env.server("CELERY_BROKER_URL", *_BROKERS) or paths.broker_url(REDIS_URL)
CELERY_TIMEZONE = "UTC"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_SERIALIZER = "json"
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_DEFAULT_QUEUE = "default"
# Doorbells are not acknowledged: one that is lost is found by a sweeper, and the book-keeping costs more than the task.
CELERY_TASK_QUEUES = [Queue("default"), Queue("runs", no_ack=True), Queue("isolated", no_ack=True)]
CELERY_TASK_ROUTES = {"executions.ring": {"queue": "runs"}, "executions.run_node": {"queue": "isolated"}}
# A worker process drives its runs in an event loop of its own; the pool only hands it the doorbells.
CELERY_WORKER_POOL = "solo"
CELERY_WORKER_PREFETCH_MULTIPLIER = 64
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_TIMEOUT = 1
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# No doorbell takes long or is acknowledged late, so nothing is cancelled; Celery warns when this is left to it.
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True
# A request must not wait for a broker that is away: the sweeper finds what was not rung.
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 1, "interval_start": 0, "interval_max": 0.2}
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "socket_timeout": 1,
    "socket_connect_timeout": 1,
    "visibility_timeout": 60,
}
CELERY_BEAT_SCHEDULER = "config.beat:GuardedScheduler"
CELERY_BEAT_SCHEDULE: dict[str, dict[str, object]] = {
    "fire schedules": {
        "task": "executions.fire_schedules",
        "schedule": 5.0,
        # While no worker takes them they must not pile up: one that comes later does all that earlier ones would have.
        "options": {"expire_seconds": 60},
    },
    "take up deliveries": {
        "task": "executions.take_up_deliveries",
        "schedule": 5.0,
        "options": {"expire_seconds": 60},
    },
    "send mails of notices": {
        "task": "notifications.send_mails",
        "schedule": 15.0,
        "options": {"expire_seconds": 60},
    },
    "fold transfers": {
        "task": "credits.fold_transfers",
        "schedule": 60.0,
        "options": {"expire_seconds": 60},
    },
    "notice low balances": {
        "task": "credits.notice_low",
        "schedule": 10.0,
        "options": {"expire_seconds": 10},
    },
    "settle payments": {
        "task": "credits.settle_payments",
        "schedule": 60.0,
        "options": {"expire_seconds": 60},
    },
    "forget blobs": {
        "task": "executions.forget_blobs",
        "schedule": 3600.0,
        "options": {"expire_seconds": 3600},
    },
    "forget fires": {
        "task": "executions.forget_fires",
        "schedule": crontab(hour="3", minute="37"),
        "options": {"expire_seconds": 3600},
    },
    "forget deliveries": {
        "task": "integrations.forget_deliveries",
        "schedule": crontab(hour="3", minute="57"),
        "options": {"expire_seconds": 3600},
    },
    "forget events": {
        "task": "credits.forget_events",
        "schedule": crontab(hour="3", minute="47"),
        "options": {"expire_seconds": 3600},
    },
    "sweep files": {
        "task": "files.sweep",
        "schedule": 3600.0,
        "options": {"expire_seconds": 3600},
    },
}

# Where nothing is paid for there is nothing to look after.
if env.text("TASKLOOM_CREDITS") != "disabled":
    CELERY_BEAT_SCHEDULE |= {
        "tidy credits": {
            "task": "executions.tidy_credits",
            "schedule": 3600.0,
            "options": {"expire_seconds": 3600},
        },
        "audit ledger": {
            "task": "executions.audit_ledger",
            "schedule": crontab(hour="3", minute="17"),
            "options": {"expire_seconds": 3600},
        },
    }

# --- Channels ---------------------------------------------------------------------------------------------------

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [{"address": REDIS_URL, "socket_timeout": None}], "prefix": "taskloom"},
    },
}

# --- REST framework and tokens ----------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["accounts.api.authentication.TokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["core.api.QuickJSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "core.api.StrictNegotiation",
    "DEFAULT_PARSER_CLASSES": ["core.api.StrictJSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_THROTTLE_CLASSES": ["core.throttles.Throttle"],
    "EXCEPTION_HANDLER": "core.api.answer_error",
}
# How many requests of each scope somebody may send, see core.throttles: of a user, and for the scopes of people who are
# not logged in, of an address. `…_account` counts those about one account, wherever they come from.
RATES = env.rates(
    "TASKLOOM_RATES",
    {
        "general": "3000/m",
        "anonymous": "300/m",
        "keys": "1500/m",
        "starts": "1200/m",
        "batches": "60/m",
        "uploads": "120/m",
        "payments": "30/m",
        "webhooks": "1200/m",
        "sign_in": "30/m",
        "sign_in_account": "20/15m",
        "mails": "10/m",
        "mails_account": "5/h",
        "proofs": "30/m",
    },
)
JWT_ALGORITHM = env.text("JWT_ALGORITHM")
JWT_SIGNING_KEY = env.secret("JWT_SIGNING_KEY")
REFRESH_GRACE_SECONDS = env.number("TASKLOOM_REFRESH_GRACE_SECONDS")
IDENTITY_ISSUER = env.text("IDENTITY_ISSUER")
IDENTITY_AUDIENCE = env.text("IDENTITY_AUDIENCE")
IDENTITY_ALGORITHM = env.text("IDENTITY_ALGORITHM")
IDENTITY_KEY = env.text("IDENTITY_KEY")
IDENTITY_JWKS_URL = env.text("IDENTITY_JWKS_URL")
SPECTACULAR_SETTINGS = {
    "TITLE": "Taskloom",
    "DESCRIPTION": "Graphs of blocks, run durably on Celery workers, streamed live.",
    "VERSION": "0.1.0",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "COMPONENT_SPLIT_REQUEST": True,
    "SWAGGER_UI_DIST": "SIDECAR",
    "POSTPROCESSING_HOOKS": ["drf_spectacular.hooks.postprocess_schema_enums", "config.examples.add_examples"],
    "SWAGGER_UI_FAVICON_HREF": f"/{STATIC_URL}taskloom/icon.svg",
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "ENUM_NAME_OVERRIDES": {
        "StatusEnum": "executions.api.serializers.STATUSES",
        "ReviewStatusEnum": "executions.kinds.ReviewStatus",
        "ApiKeyStatusEnum": "accounts.models.ApiKeyStatus",
        "ApiKeyPermissionEnum": "accounts.models.ApiKeyPermission",
    },
}

# --- Mail -------------------------------------------------------------------------------------------------------

_mail = env.mail("EMAIL_URL")
EMAIL_BACKEND = _mail["EMAIL_BACKEND"]
EMAIL_HOST = _mail["EMAIL_HOST"]
EMAIL_PORT = _mail["EMAIL_PORT"]
EMAIL_HOST_USER = _mail["EMAIL_HOST_USER"]
EMAIL_HOST_PASSWORD = _mail["EMAIL_HOST_PASSWORD"]
EMAIL_USE_TLS = _mail.get("EMAIL_USE_TLS", False)
EMAIL_USE_SSL = _mail.get("EMAIL_USE_SSL", False)
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env.text("TASKLOOM_MAIL_FROM")
FRONTEND_URL = env.base_url("TASKLOOM_FRONTEND_URL")

# --- The engine -------------------------------------------------------------------------------------------------

ENGINE_RUNS = env.number("TASKLOOM_ENGINE_RUNS", least=1)
RUNS_PER_USER = env.number("TASKLOOM_RUNS_PER_USER", least=1)
RUNS_PER_GRAPH = env.number("TASKLOOM_RUNS_PER_GRAPH", least=1)
LEASE_SECONDS = env.number("TASKLOOM_LEASE_SECONDS", least=1)
SWEEP_SECONDS = env.number("TASKLOOM_SWEEP_SECONDS", least=1)
BLOCK_PATIENCE_SECONDS = env.number("TASKLOOM_BLOCK_PATIENCE_SECONDS")
VALUE_BYTES = env.number("TASKLOOM_VALUE_BYTES", least=1)
OUTPUTS_PER_RUN = env.number("TASKLOOM_OUTPUTS_PER_RUN", least=1)
NODE_TASKS = env.number("TASKLOOM_NODE_TASKS")
NODE_MEMORY_MB = env.number("TASKLOOM_NODE_MEMORY_MB", least=1)
FAILPOINTS = env.names("TASKLOOM_FAILPOINTS")
HTTP_ALLOW_PRIVATE = env.places("TASKLOOM_HTTP_ALLOW_PRIVATE")

# --- Credits ----------------------------------------------------------------------------------------------------

CREDITS = env.choice("TASKLOOM_CREDITS", ["disabled", "monthly", "paid"])
MONTHLY_CREDITS = env.number("TASKLOOM_MONTHLY_CREDITS")
ADJUSTMENT_LIMIT = env.number("TASKLOOM_ADJUSTMENT_LIMIT")
STRIPE_API_KEY = env.text("STRIPE_API_KEY")
STRIPE_WEBHOOK_SECRETS = env.names("STRIPE_WEBHOOK_SECRET")
STRIPE_API_BASE = env.text("STRIPE_API_BASE")
REFUND_MAIL = env.text("TASKLOOM_REFUND_MAIL")

# --- The demo user ----------------------------------------------------------------------------------------------

DEMO_EMAIL = env.text("TASKLOOM_DEMO_EMAIL")
DEMO_PASSWORD = env.text("TASKLOOM_DEMO_PASSWORD")

# --- Logging ----------------------------------------------------------------------------------------------------

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"request_id": {"()": "core.logs.WithRequestId"}},
    "formatters": {
        "line": {"format": "%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s"},
        "json": {"()": "core.logs.JsonLines"},
    },
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "filters": ["request_id"],
            "formatter": env.choice("TASKLOOM_LOG_FORMAT", ["line", "json"]),
        },
    },
    "root": {
        "handlers": ["stderr"],
        "level": env.choice("DJANGO_LOG_LEVEL", ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")),
    },
    "loggers": {
        # At INFO it writes every URL that is fetched, and a URL may hold a secret.
        "httpx2": {"level": "WARNING"},
        # At INFO it writes two lines for each request.
        "stripe": {"level": "WARNING"},
        # Two lines for each doorbell.
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.app.trace": {"level": "WARNING"},
    },
}
