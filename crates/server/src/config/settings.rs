//! The table of settings: each name once, with its default and what it means.

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// The key in `filesafety.toml`; the flag is `--` and this with dashes.
    pub key: &'static str,
    pub env: &'static str,
    pub default: Option<&'static str>,
    pub help: &'static str,
    /// Never shown.
    pub secret: bool,
    /// A switch: the flag may stand without a value.
    pub switch: bool,
}

impl Setting {
    /// `data-dir`, without the leading dashes.
    pub fn flag(&self) -> String {
        self.key.replace('_', "-")
    }

    pub(super) fn find(key: &str) -> &'static Self {
        SETTINGS.iter().find(|setting| setting.key == key).expect("only keys of the table are read")
    }
}

macro_rules! settings {
    ($($key:literal $env:literal $default:expr, $help:literal $(, $mark:ident)?;)*) => {
        /// Every setting there is.
        pub static SETTINGS: &[Setting] = &[$(settings!(@one $key $env $default, $help $(, $mark)?)),*];
    };
    (@one $key:literal $env:literal $default:expr, $help:literal) => {
        Setting { key: $key, env: $env, default: $default, help: $help, secret: false, switch: false }
    };
    (@one $key:literal $env:literal $default:expr, $help:literal, secret) => {
        Setting { key: $key, env: $env, default: $default, help: $help, secret: true, switch: false }
    };
    (@one $key:literal $env:literal $default:expr, $help:literal, switch) => {
        Setting { key: $key, env: $env, default: $default, help: $help, secret: false, switch: true }
    };
}

settings! {
    "listen" "FILESAFETY_LISTEN" Some("127.0.0.1:8080"), "Address to serve on; another than loopback needs TLS or --behind-proxy";
    "public_url" "FILESAFETY_PUBLIC_URL" None, "What upload URLs start with; by default the listen address";
    "tls_cert" "FILESAFETY_TLS_CERT" None, "Certificate chain, PEM";
    "tls_key" "FILESAFETY_TLS_KEY" None, "Private key of the certificate, PEM";
    "tls_min" "FILESAFETY_TLS_MIN" Some("1.3"), "Oldest TLS version spoken: 1.3 or 1.2";
    "behind_proxy" "FILESAFETY_BEHIND_PROXY" Some("off"), "A proxy in front ends TLS", switch;
    "metrics_listen" "FILESAFETY_METRICS_LISTEN" None, "Address that serves /metrics to others than loopback";
    "data_dir" "FILESAFETY_DATA_DIR" Some("./data"), "Folder of the store, of uploads in flight and of master.key";
    "master_key" "FILESAFETY_MASTER_KEY" None, "32 bytes in base64 that wrap keys, secrets and URLs; by default master.key in the data folder", secret;
    "database_url" "FILESAFETY_DATABASE_URL" None, "Another store than SQLite in the data folder; not in this build", secret;
    "blob_url" "FILESAFETY_BLOB_URL" None, "Another place for uploads than the data folder; not in this build";
    "roles" "FILESAFETY_ROLES" Some("api,scan,deliver"), "Which roles this process plays; this build plays all three";
    "api_key" "FILESAFETY_API_KEY" None, "API key to create at start if it is not there", secret;
    "webhook_secret" "FILESAFETY_WEBHOOK_SECRET" None, "First signing secret of the account: whsec_ and base64 of 24 to 64 bytes", secret;
    "webhook_retry" "FILESAFETY_WEBHOOK_RETRY" Some("10s,1m,5m"), "Waits before each further attempt";
    "webhook_timeout" "FILESAFETY_WEBHOOK_TIMEOUT" Some("10s"), "Time for one attempt, answer included";
    "webhook_grace" "FILESAFETY_WEBHOOK_GRACE" Some("250ms"), "Time between the answer that names a scan and its first attempt";
    "webhook_http" "FILESAFETY_WEBHOOK_HTTP" Some("off"), "Allow http webhooks to addresses inside FILESAFETY_ALLOW_NETS", switch;
    "allow_nets" "FILESAFETY_ALLOW_NETS" Some(""), "Networks that are not public and that webhooks may reach, such as 127.0.0.0/8";
    "fetch" "FILESAFETY_FETCH" Some("on"), "Whether {\"url\": …} scans are served", switch;
    "fetch_allow_nets" "FILESAFETY_FETCH_ALLOW_NETS" Some(""), "Networks that are not public and that url scans may reach";
    "fetch_timeout" "FILESAFETY_FETCH_TIMEOUT" Some("60s"), "Time to fetch a URL in all";
    "ca_file" "FILESAFETY_CA_FILE" None, "Extra trusted roots for outgoing TLS, PEM";
    "policy" "FILESAFETY_POLICY" Some("strict"), "What unexamined content means: strict, balanced, or entries such as encrypted=allow";
    "rules_dir" "FILESAFETY_RULES_DIR" None, "Folder of YARA rules and hash lists, watched and reloaded";
    "clamdb_pua" "FILESAFETY_CLAMDB_PUA" Some("off"), "Load ClamAV signatures of possibly unwanted applications, too", switch;
    "nsfw_model" "FILESAFETY_NSFW_MODEL" Some("builtin"), "What judges pictures: builtin, an ONNX file with its TOML file beside it, or two of these, of which the higher score counts";
    "sandbox" "FILESAFETY_SANDBOX" Some("on"), "Whether the processes that read files give up every right they do not need; off is for finding faults", switch;
    "require_sandbox" "FILESAFETY_REQUIRE_SANDBOX" Some("off"), "Refuse to start where a part of the sandbox is missing", switch;
    "archive_passwords" "FILESAFETY_ARCHIVE_PASSWORDS" None, "Passwords tried on encrypted archives and documents, one a line", secret;
    "clamd" "FILESAFETY_CLAMD" None, "A clamd to ask as well: unix:/path or tcp:host:port; required once set";
    "clamd_max" "FILESAFETY_CLAMD_MAX" Some("25MiB"), "Largest object that clamd is asked for";
    "file_max" "FILESAFETY_FILE_MAX" Some("1GiB"), "Largest file";
    "metadata_max" "FILESAFETY_METADATA_MAX" Some("4KiB"), "Longest metadata, as JSON text";
    "picture_bytes" "FILESAFETY_PICTURE_BYTES" Some("32MiB"), "Largest picture that is judged, in bytes";
    "picture_pixels" "FILESAFETY_PICTURE_PIXELS" Some("120000000"), "Largest picture that is judged, in pixels";
    "unpack_depth" "FILESAFETY_UNPACK_DEPTH" Some("20"), "Containers inside containers that are opened";
    "unpack_objects" "FILESAFETY_UNPACK_OBJECTS" Some("200000"), "Objects examined in one scan";
    "unpack_bytes" "FILESAFETY_UNPACK_BYTES" Some("4GiB"), "Bytes unpacked in one scan";
    "unpack_time" "FILESAFETY_UNPACK_TIME" Some("120s"), "CPU time of one scan";
    "queue_max" "FILESAFETY_QUEUE_MAX" Some("10000"), "Scans that may wait";
    "open_uploads_max" "FILESAFETY_OPEN_UPLOADS_MAX" Some("1000"), "Upload URLs of one account that may be open";
    "upload_url_life" "FILESAFETY_UPLOAD_URL_LIFE" Some("1h"), "How long an upload URL can be used";
    "upload_pace_bytes" "FILESAFETY_UPLOAD_PACE_BYTES" Some("30KiB"), "Bytes that an upload must bring within the pace window";
    "upload_pace_window" "FILESAFETY_UPLOAD_PACE_WINDOW" Some("30s"), "The pace window";
    "upload_timeout" "FILESAFETY_UPLOAD_TIMEOUT" Some("1h"), "Time for one upload in all";
    "rate" "FILESAFETY_RATE" Some("50,100"), "Submissions of one key per second, and at once; or off";
    "read_rate" "FILESAFETY_READ_RATE" Some("2000,5000"), "Reads of one key per second, and at once; or off";
    "scan_threads" "FILESAFETY_SCAN_THREADS" None, "Files scanned at the same time; by default the number of cores";
    "scan_memory" "FILESAFETY_SCAN_MEMORY" None, "Memory of all running scans together; by default half of the machine's";
    "sync_wait" "FILESAFETY_SYNC_WAIT" Some("25s"), "How long a request waits for its verdict";
    "dedupe_for" "FILESAFETY_DEDUPE_FOR" Some("24h"), "How young a finished scan must be to stand for the same file; 0 switches it off";
    "retention" "FILESAFETY_RETENTION" Some("90d"), "How long finished scans are kept";
    "drain_timeout" "FILESAFETY_DRAIN_TIMEOUT" Some("15s"), "Time for running scans to finish after SIGTERM";
    "log" "FILESAFETY_LOG" Some("info"), "What is logged: a level, or a filter such as filesafety=debug";
    "log_format" "FILESAFETY_LOG_FORMAT" Some("text"), "text or json";
    "url" "FILESAFETY_URL" Some("http://127.0.0.1:8080"), "The service that the client commands talk to";
}
