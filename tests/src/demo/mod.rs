//! What `make demo` and `make run` are made of. The end-to-end tests use the comparisons too.

pub mod compare;
pub mod network;
pub mod place;
pub mod progress;
pub mod statistics;

pub use compare::{Claim, compare};
pub use network::Network;
pub use place::Place;
pub use progress::Screen;
pub use statistics::{Difference, compare_statistics};

/// What to ask the archive that the demo leaves.
pub const QUERIES: &str = r#"  -- which relays exist, how healthy are they, what do they hold?
  SELECT url, online, rtt_open_ms, software, event_count, coverage FROM bigbrotr.relay_status;

  -- the newest notes, as a relay would return them
  SELECT to_timestamp(created_at), bigbrotr.npub(pubkey), left(regexp_replace(content, '\s+', ' ', 'g'), 50) AS note
  FROM bigbrotr.query('{"kinds": [1], "limit": 10}');

  -- which relays hold the newest event?
  SELECT e.id, r.relay_url FROM bigbrotr.query('{"limit": 1}') AS e, bigbrotr.relays_of(e.id) AS r;

  -- how many copies of an event are there?
  SELECT copies, count(*) FROM (SELECT count(*) AS copies FROM bigbrotr.event_relay GROUP BY event_id) AS c GROUP BY copies;

  -- what is written, by whom, when
  SELECT * FROM bigbrotr.kind_counts ORDER BY event_count DESC;
  SELECT * FROM bigbrotr.event_daily_counts ORDER BY day DESC LIMIT 10;

  -- what did not answer, and why
  SELECT url, failures, last_error, next_attempt_at FROM bigbrotr.candidate;
"#;
