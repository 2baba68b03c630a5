use std::time::Duration;

use confab_protocol::ErrorCode;

use super::{Gateway, Metrics, RaftFigures, RaftRole};

#[test]
fn what_is_reported_is_exported() {
    let metrics = Metrics::new();
    metrics.sent();
    metrics.acknowledged(Duration::from_micros(300));
    metrics.delivered(49, 0);
    metrics.session_opened(Gateway::Quic);
    metrics.connections(7, 2);
    metrics.outbox_bytes_changed(100);
    metrics.outbox_bytes_changed(-40);
    metrics.log_written(3, 900, Duration::from_micros(120));
    metrics.flush_lag(4_096, Some(Duration::from_millis(250)));
    metrics.checkpoint();
    let figures = RaftFigures {
        role: RaftRole::Leader,
        term: 2,
        commit: 10,
        applied: 9,
        lag: 0,
    };
    metrics.raft("shard-1", figures);
    metrics.rejected(ErrorCode::RateLimited);
    metrics.auth_failed("signature");
    metrics.rate_limited("user");
    let text = metrics.to_text();
    for line in [
        "confab_sends_total 1",
        "confab_acknowledgements_total 1",
        "confab_send_to_ack_seconds_bucket{le=\"0.0005\"} 1",
        "confab_deliveries_total 49",
        "confab_delivery_seconds_bucket{le=\"10\"} 0",
        "confab_delivery_seconds_count 1",
        "confab_sessions{gateway=\"quic\"} 1",
        "confab_sessions{gateway=\"websocket\"} 0",
        "confab_connections{state=\"authenticated\"} 5",
        "confab_connections{state=\"unauthenticated\"} 2",
        "confab_outbox_bytes 60",
        "confab_log_appended_bytes_total 900",
        "confab_flush_lag_seconds 0.25",
        "confab_flush_lag_bytes 4096",
        "confab_checkpoints_total 1",
        "confab_raft_role{group=\"shard-1\"} 3",
        "confab_raft_applied_index{group=\"shard-1\"} 9",
        "confab_rejections_total{reason=\"rate_limited\"} 1",
        "confab_auth_failures_total{reason=\"signature\"} 1",
        "confab_rate_limited_total{scope=\"user\"} 1",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is not in\n{text}"
        );
    }
}

/// Two nodes in one process (as tests have them) must not share numbers.
#[test]
fn each_node_has_its_own_registry() {
    let one = Metrics::new();
    let other = Metrics::new();
    one.sent();
    assert!(other.to_text().contains("confab_sends_total 0"));
}
