//! The facts that are announced: the frozen body of each event.

use filesafety_model::{AccountId, EventId, Judgement, ScanId, Sha256, Timestamp, Verdict};
use filesafety_store::Announcement;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::views::{FailureView, NsfwView, VirusView};

pub(crate) const SCAN_COMPLETE: &str = "scan.complete";
pub(crate) const SCAN_VERDICT_UPDATED: &str = "scan.verdict_updated";
pub(crate) const WEBHOOK_TEST: &str = "webhook.test";

/// What happened to which scan.
pub(crate) struct Finished<'a> {
    pub(crate) scan: ScanId,
    pub(crate) judgement: &'a Judgement,
    pub(crate) digest: Option<&'a Sha256>,
    /// JSON object text, as it came in.
    pub(crate) metadata: Option<&'a str>,
    /// When it finished.
    pub(crate) at: Timestamp,
}

/// What newer data made of a finished scan.
pub(crate) struct Turned<'a> {
    /// As it is judged now.
    pub(crate) finished: Finished<'a>,
    /// 2, 3, …
    pub(crate) sequence: u32,
    pub(crate) previous: Verdict,
    pub(crate) turned_at: Timestamp,
}

#[derive(Serialize)]
struct ScanBody<'a> {
    event: &'static str,
    scan_id: String,
    verdict: &'static str,
    virus: Option<VirusView>,
    nsfw: Option<NsfwView>,
    file_hash: Option<String>,
    metadata: Option<&'a RawValue>,
    completed_at: String,
    sequence: u32,
    failure: Option<FailureView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_verdict: Option<&'static str>,
}

/// `scan.complete`, sequence 1.
pub(crate) fn scan_complete(event: EventId, finished: &Finished<'_>) -> Announcement {
    let body = scan_body(SCAN_COMPLETE, 1, finished, None);
    Announcement { event, name: SCAN_COMPLETE.to_owned(), sequence: 1, body: to_json(&body), created_at: finished.at }
}

/// `scan.verdict_updated`: as `scan.complete`, with the verdict before.
pub(crate) fn scan_verdict_updated(event: EventId, turned: &Turned<'_>) -> Announcement {
    let Turned { finished, sequence, previous, turned_at } = turned;
    let body = scan_body(SCAN_VERDICT_UPDATED, *sequence, finished, Some(*previous));
    Announcement { event, name: SCAN_VERDICT_UPDATED.to_owned(), sequence: *sequence, body: to_json(&body), created_at: *turned_at }
}

fn scan_body<'a>(event: &'static str, sequence: u32, finished: &Finished<'a>, previous: Option<Verdict>) -> ScanBody<'a> {
    let judgement = finished.judgement;
    ScanBody {
        event,
        scan_id: finished.scan.to_string(),
        verdict: judgement.verdict.as_str(),
        virus: judgement.virus.as_ref().map(VirusView::of),
        nsfw: judgement.nsfw.as_ref().map(NsfwView::of),
        file_hash: finished.digest.map(Sha256::to_string),
        metadata: finished.metadata.or(Some("{}")).and_then(|text| serde_json::from_str(text).ok()),
        completed_at: finished.at.to_string(),
        sequence,
        failure: judgement.failure.as_ref().map(FailureView::of),
        previous_verdict: previous.map(Verdict::as_str),
    }
}

#[derive(Serialize)]
struct WebhookTest {
    event: &'static str,
    account: String,
    created_at: String,
}

/// The body of `webhook.test`.
pub(crate) fn webhook_test(account: AccountId, now: Timestamp) -> String {
    to_json(&WebhookTest { event: WEBHOOK_TEST, account: account.to_string(), created_at: now.to_string() })
}

fn to_json(body: &impl Serialize) -> String {
    serde_json::to_string(body).expect("maps with text keys and finite numbers always serialise")
}

#[cfg(test)]
mod tests {
    use filesafety::Event;
    use filesafety_model::{Coverage, Detection, EngineName, FailureCode, Kind, Note, Primary, Reason, VirusFinding};

    use super::*;

    fn announced(judgement: &Judgement, metadata: Option<&str>) -> String {
        let at = Timestamp::from_millis(1_790_000_000_000);
        let digest = Sha256::new([7; 32]);
        let finished = Finished { scan: ScanId::new(at, [0; 10]), judgement, digest: Some(&digest), metadata, at };
        scan_complete(EventId::new(at, [0; 10]), &finished).body
    }

    fn infected(detections: usize, text: &str) -> Judgement {
        let detection = Detection { signature: text.into(), engine: EngineName::YaraX, kind: Kind::Malware, path: text.into() };
        let primary = Primary { kind: Kind::Malware, engine: EngineName::YaraX, signature: text.into(), path: text.into(), reason: None };
        Judgement {
            verdict: Verdict::Infected,
            virus: Some(VirusFinding {
                primary: Some(primary),
                detections: vec![detection; detections],
                notes: vec![Note { path: text.into(), note: text.into() }; detections],
            }),
            nsfw: None,
            coverage: Coverage::default(),
            failure: None,
        }
    }

    #[test]
    fn what_is_sent_is_what_the_sdk_reads() {
        let unexamined = Primary {
            kind: Kind::Unexamined,
            engine: EngineName::FileSafety,
            signature: "Heuristics.Encrypted.Zip".into(),
            path: String::new(),
            reason: Some(Reason::Encrypted),
        };
        let judgements = [
            infected(3, "EICAR-Test-File"),
            Judgement { virus: Some(VirusFinding { primary: Some(unexamined), ..VirusFinding::default() }), ..infected(0, "") },
            Judgement { verdict: Verdict::Clean, virus: Some(VirusFinding::default()), ..infected(0, "") },
            Judgement::failed(FailureCode::FetchFailed, "No answer."),
        ];
        for judgement in judgements {
            let body = announced(&judgement, Some(r#"{"z":18446744073709551615}"#));
            let event = Event::parse(body.as_bytes()).unwrap();
            let Event::ScanComplete(read) = event else { panic!("{body}") };
            // Read and written again it is the same value: neither side has a field that the other lacks.
            let again: serde_json::Value = serde_json::to_value(&read).unwrap();
            let sent: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!(again, sent);
        }
    }

    #[test]
    fn an_update_is_what_the_sdk_reads() {
        let at = Timestamp::from_millis(1_790_000_000_000);
        let (judgement, digest) = (infected(1, "Trojan.Later"), Sha256::new([7; 32]));
        let metadata = Some(r#"{"z":18446744073709551615,"a":1.10}"#);
        let finished = Finished { scan: ScanId::new(at, [0; 10]), judgement: &judgement, digest: Some(&digest), metadata, at };
        let turned = Turned { finished, sequence: 2, previous: Verdict::Clean, turned_at: at.plus(std::time::Duration::from_secs(60)) };
        let announcement = scan_verdict_updated(EventId::new(at, [0; 10]), &turned);
        assert_eq!((announcement.sequence, announcement.name.as_str()), (2, "scan.verdict_updated"));
        let event = Event::parse(announcement.body.as_bytes()).unwrap();
        let Event::ScanVerdictUpdated(read) = event else { panic!("{}", announcement.body) };
        assert_eq!((read.scan.verdict, read.previous_verdict), (filesafety::event::Verdict::Infected, filesafety::event::Verdict::Clean));
        let again: serde_json::Value = serde_json::to_value(&read).unwrap();
        let sent: serde_json::Value = serde_json::from_str(&announcement.body).unwrap();
        assert_eq!(again, sent);
        assert!(announcement.body.contains("1.10}"), "metadata comes back value for value");
        let first = scan_complete(EventId::new(at, [0; 10]), &turned.finished).body;
        assert!(!first.contains("previous_verdict"));
    }

    #[test]
    fn metadata_is_an_object_even_where_none_was_given() {
        assert!(announced(&infected(1, "X"), None).contains("\"metadata\":{}"));
        assert!(announced(&infected(1, "X"), Some("{\"b\":1,\"a\":1.10}")).contains("\"metadata\":{\"b\":1,\"a\":1.10}"));
    }

    #[test]
    fn a_body_stays_under_64_kib_whatever_the_file_holds() {
        let longest = infected(VirusFinding::MAX_DETECTIONS, &"\u{10FFFF}".repeat(5000));
        let metadata = format!("{{\"a\":\"{}\"}}", "x".repeat(4080));
        assert!(announced(&longest, Some(&metadata)).len() < 64 * 1024);
    }
}
