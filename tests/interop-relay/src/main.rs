//! Serves events from memory on 127.0.0.1 until its standard input ends: `interop-relay PORT MAX_LIMIT`.

use std::{error::Error, io::Read, net::Ipv4Addr};

use nostr_relay_builder::{LocalRelay, RelayBuilder, builder::RateLimit, prelude::*};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |name| arguments.next().ok_or(format!("{name} is missing"));
    let (port, max_limit) = (number("PORT")?.parse()?, number("MAX_LIMIT")?.parse()?);
    let database = MemoryDatabase::with_opts(MemoryDatabaseOptions { events: true, max_events: None });
    let builder = RelayBuilder::default()
        .addr(Ipv4Addr::LOCALHOST.into())
        .port(port)
        .database(database)
        .max_filter_limit(max_limit)
        .rate_limit(RateLimit { max_reqs: 500, notes_per_minute: u32::MAX });
    let relay = LocalRelay::new(builder);
    relay.run().await?;
    println!("{}", relay.url().await);
    // The test's end, however it ends, closes this.
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    Ok(())
}
