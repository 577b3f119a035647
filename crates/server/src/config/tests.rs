use std::collections::BTreeMap;

use super::*;

fn resolve(flags: &[(&str, &str)], environment: &[(&str, &str)]) -> Result<Resolved, ConfigError> {
    let own =
        |pairs: &[(&str, &str)]| pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<BTreeMap<_, _>>();
    Resolved::new(&Sources { flags: own(flags), environment: own(environment), file: None })
}

fn config(environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::new(&resolve(&[], environment)?)
}

fn refusal(environment: &[(&str, &str)]) -> String {
    config(environment).unwrap_err().to_string()
}

#[test]
fn defaults_are_valid() {
    let config = config(&[]).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.rate, Some(Rate { per_second: 50, burst: 100 }));
    assert_eq!(config.intake.file, 1 << 30);
    assert!(config.fetch.enabled && !config.behind_proxy);
}

#[test]
fn flags_win_over_the_environment_over_defaults() {
    let resolved =
        resolve(&[("listen", "127.0.0.1:1")], &[("FILESAFETY_LISTEN", "127.0.0.1:2"), ("FILESAFETY_LOG", "debug"), ("PATH", "x")]).unwrap();
    let origin = |key| resolved.get(key).map(|value| value.origin.to_string()).unwrap();
    assert_eq!((origin("listen"), origin("log"), origin("policy")), ("--listen".into(), "FILESAFETY_LOG".into(), "default".into()));
}

#[test]
fn an_unknown_variable_stops_the_start_and_names_a_near_one() {
    let message = refusal(&[("FILESAFETY_POLICYY", "strict")]);
    assert_eq!(message, "FILESAFETY_POLICYY is no setting of FileSafety; did you mean FILESAFETY_POLICY?");
}

#[test]
fn a_program_run_by_a_receiver_may_call_this_one() {
    let given = [
        ("FILESAFETY_SCAN_ID", "scn_1"),
        ("FILESAFETY_VERDICT", "clean"),
        ("FILESAFETY_SIGNATURE", ""),
        ("FILESAFETY_RECEIVE_LISTEN", "x"),
    ];
    assert!(config(&given).is_ok());
}

#[test]
fn a_bad_value_names_the_setting_and_the_remedy() {
    for (name, value, part) in [
        ("FILESAFETY_LISTEN", "8080", "FILESAFETY_LISTEN"),
        ("FILESAFETY_RATE", "50", "such as 50,100"),
        ("FILESAFETY_FILE_MAX", "1 potato", "such as 4KiB"),
        ("FILESAFETY_SYNC_WAIT", "25", "such as 250ms"),
        ("FILESAFETY_WEBHOOK_RETRY", "soon", "\"soon\" is not a wait"),
        ("FILESAFETY_ALLOW_NETS", "127.0.0.0/99", "\"127.0.0.0/99\" is no network"),
        ("FILESAFETY_POLICY", "lenient", "neither \"strict\""),
        ("FILESAFETY_FETCH", "maybe", "on or off"),
        ("FILESAFETY_CLAMD", "somewhere", "FILESAFETY_CLAMD"),
    ] {
        let message = refusal(&[(name, value)]);
        assert!(message.contains(name) && message.contains(part), "{message}");
    }
}

#[test]
fn a_reachable_address_needs_tls_or_a_proxy() {
    let message = refusal(&[("FILESAFETY_LISTEN", "0.0.0.0:8080")]);
    assert!(message.contains("FILESAFETY_TLS_CERT") && message.contains("--behind-proxy"), "{message}");
    assert!(config(&[("FILESAFETY_LISTEN", "0.0.0.0:8080"), ("FILESAFETY_BEHIND_PROXY", "on")]).is_ok());
}

#[test]
fn what_this_build_lacks_stops_the_start() {
    for (name, value) in [("FILESAFETY_DATABASE_URL", "postgres://x"), ("FILESAFETY_BLOB_URL", "s3://x"), ("FILESAFETY_ROLES", "api")] {
        assert!(refusal(&[(name, value)]).contains(name));
    }
}

#[test]
fn secrets_are_never_shown() {
    let config = config(&[("FILESAFETY_API_KEY", "fs_live_topsecret")]).unwrap();
    assert!(!format!("{config:?}").contains("topsecret"));
}
