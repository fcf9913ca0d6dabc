//! NIP-42 end to end: relays that want to know who asks, with and without a key.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::time::Duration;

use bigbrotr_tests::relay::{Auth, Challenge};
use bigbrotr_tests::truth::{archive_options, expected, wait_until_archived};
use bigbrotr_tests::{Cluster, Generator, Relay, RelayHandle, RelayOptions, Spec, Store, generate};
use tokio_postgres::Client;

const DEADLINE: Duration = Duration::from_secs(90);
const SECRET: &str = "00000000000000000000000000000000000000000000000000000000000000c5";

async fn start() -> (Cluster, Client) {
    let options = archive_options(&[("bigbrotr.request_timeout", "2s")]);
    let cluster = Cluster::start(options);
    let client = cluster.connect("postgres").await;
    client.batch_execute("CREATE EXTENSION bigbrotr").await.expect("created");
    (cluster, client)
}

/// A key file of the server's user, with this mode; its path.
fn key_file(cluster: &Cluster, text: &str, mode: u32) -> String {
    let path = cluster.dir().join(format!("key-{mode:o}"));
    fs::write(&path, text).expect("written");
    fs::set_permissions(&path, Permissions::from_mode(mode)).expect("changed");
    let owner = fs::metadata(cluster.data()).expect("the data folder");
    chown(&path, Some(owner.uid()), Some(owner.gid())).expect("given away");
    path.to_string_lossy().into_owned()
}

fn relay(seed: u64, auth: Auth) -> RelayHandle {
    let now = generate::now();
    let spec = Spec { authors: 10, created_at: now - 30 * 86_400..now - 100, ..Spec::default() };
    let events = Store::new(Generator::new(seed).corpus(150, &spec));
    Relay::start(RelayOptions { events, auth, cap: Some(60), ..RelayOptions::default() })
}

async fn enrol(client: &Client, relays: &[&RelayHandle]) {
    for relay in relays {
        client
            .execute("INSERT INTO bigbrotr.relay (url, network) VALUES ($1, 'clearnet')", &[&relay.url()])
            .await
            .expect("enrolled");
    }
}

#[tokio::test]
async fn with_a_key_relays_that_ask_for_it_are_archived() {
    let (mut cluster, client) = start().await;
    let open = relay(1, Auth::None);
    let (required, silent, restricted) = (relay(2, Auth::Required), relay(3, Auth::Silent), relay(4, Auth::Restricted));
    let path = key_file(&cluster, &format!("{SECRET}\n"), 0o600);
    cluster.set(&[("bigbrotr.auth_enabled", "on"), ("bigbrotr.secret_key_file", &path)]).await;
    enrol(&client, &[&open, &required, &silent, &restricted]).await;
    let parked = format!(
        "SELECT bool_or(s.last_error LIKE 'refused:%' AND s.next_attempt_at > now() + interval '12 hours') \
         FROM bigbrotr.relay_sync AS s JOIN bigbrotr.relay AS r ON r.id = s.relay_id WHERE r.url = '{}'",
        restricted.url()
    );
    cluster.wait_for(&client, &parked, DEADLINE, "the restricted relay to be parked").await;
    wait_until_archived(&cluster, &client, &expected([&open, &required, &silent]), DEADLINE).await;
    let refused = "SELECT count(*) > 0 FROM bigbrotr.coverage WHERE state = 'refused'";
    cluster.wait_for(&client, refused, DEADLINE, "the reason in coverage").await;
    assert_eq!(open.served().auths, 0, "a relay that does not ask must not be told");
    assert!(required.served().auths > 0 && silent.served().auths > 0 && restricted.served().auths > 0);
    let stored: i64 =
        client.query_one("SELECT count(*) FROM bigbrotr.event WHERE kind = 22242", &[]).await.expect("a row").get(0);
    assert_eq!(stored, 0);
    assert!(!cluster.log().contains(SECRET), "the key is in the log");
}

#[tokio::test]
async fn without_a_key_such_relays_wait_and_a_key_brings_them_back() {
    let (mut cluster, client) = start().await;
    let required = relay(5, Auth::Required);
    enrol(&client, &[&required]).await;
    let waiting = "SELECT count(*) = 1 FROM bigbrotr.relay_sync WHERE last_error LIKE 'needs_auth:%' AND next_attempt_at > now() + interval '12 hours'";
    cluster.wait_for(&client, waiting, DEADLINE, "needs_auth").await;
    let shown = "SELECT count(*) = 1 FROM bigbrotr.coverage WHERE state = 'needs_auth'";
    cluster.wait_for(&client, shown, DEADLINE, "needs_auth in coverage").await;
    assert_eq!(required.served().auths, 0);

    let exposed = key_file(&cluster, SECRET, 0o644);
    cluster.set(&[("bigbrotr.auth_enabled", "on"), ("bigbrotr.secret_key_file", &exposed)]).await;
    let said = "SELECT last_error LIKE '%has group or world access%0600%' FROM bigbrotr.stat_workers WHERE service = 'synchronizer'";
    cluster.wait_for(&client, said, DEADLINE, "the complaint about the key file").await;
    assert_eq!(required.served().auths, 0, "a key that others may read was used");

    let path = key_file(&cluster, SECRET, 0o600);
    cluster.set(&[("bigbrotr.secret_key_file", &path)]).await;
    wait_until_archived(&cluster, &client, &expected([&required]), DEADLINE).await;
    assert!(!cluster.log().contains(SECRET), "the key is in the log");
}

#[tokio::test]
async fn odd_ways_to_ask_for_a_key_are_understood() {
    let (mut cluster, client) = start().await;
    let path = key_file(&cluster, SECRET, 0o600);
    cluster.set(&[("bigbrotr.auth_enabled", "on"), ("bigbrotr.secret_key_file", &path)]).await;
    let odd = |seed, auth, challenge| {
        let relay = relay(seed, auth);
        relay.update(|options| options.challenge = challenge);
        relay
    };
    let good = [
        odd(11, Auth::First, Challenge::AtConnect),
        odd(12, Auth::Unconfirmed, Challenge::AtConnect),
        odd(13, Auth::Required, Challenge::OnRefusal),
        odd(14, Auth::Required, Challenge::Several(5)),
        odd(15, Auth::Required, Challenge::Renewed),
        odd(16, Auth::Required, Challenge::Oversize(900)),
    ];
    let bad = [
        odd(21, Auth::Rejected, Challenge::AtConnect),
        odd(22, Auth::Required, Challenge::Oversize(5000)),
        odd(23, Auth::Required, Challenge::Never),
    ];
    enrol(&client, &good.iter().chain(&bad).collect::<Vec<_>>()).await;
    wait_until_archived(&cluster, &client, &expected(&good), DEADLINE).await;
    let urls: Vec<String> = bad.iter().map(RelayHandle::url).collect();
    let parked = format!(
        "SELECT count(*) = 3 FROM bigbrotr.relay_sync AS s JOIN bigbrotr.relay AS r ON r.id = s.relay_id \
         WHERE r.url IN ('{}') AND s.last_error LIKE 'needs_auth:%' AND s.next_attempt_at > now() + interval '12 hours'",
        urls.join("', '")
    );
    cluster.wait_for(&client, &parked, DEADLINE, "those that cannot be satisfied to be parked").await;
    for relay in &bad {
        assert!(relay.served().reqs < 20, "{} requests to a relay that refuses", relay.served().reqs);
    }
}
