//! No question about a name in an overlay leaves for a name server, whoever asks it: the resolver itself follows aliases, and a
//! stranger's zone may say that `relay.example` is an alias of `x.i2p`.

use crate::endpoint::network_of;
use bigbrotr_models::Network;
use futures_util::{
    StreamExt,
    future::{BoxFuture, Either, Ready, ready},
    stream::{Once, once},
};
use hickory_resolver::{
    ConnectionProvider, PoolContext,
    config::ConnectionConfig,
    net::{
        NetError,
        runtime::TokioRuntimeProvider,
        xfer::{DnsExchange, DnsHandle},
    },
    proto::op::{DnsRequest, DnsResponse, ResponseCode},
};
use std::net::IpAddr;

/// The resolver with that guard at its connections.
pub(crate) type GuardedResolver = hickory_resolver::Resolver<GuardedProvider>;

type Exchange = DnsExchange<TokioRuntimeProvider>;

/// Makes guarded connections to name servers.
#[derive(Clone, Default)]
pub(crate) struct GuardedProvider(TokioRuntimeProvider);

/// A connection to a name server that answers for it what must not be asked.
#[derive(Clone)]
pub(crate) struct Guarded(Exchange);

impl ConnectionProvider for GuardedProvider {
    type Conn = Guarded;
    type FutureConn = BoxFuture<'static, Result<Guarded, NetError>>;
    type RuntimeProvider = TokioRuntimeProvider;

    fn new_connection(
        &self,
        ip: IpAddr,
        config: &ConnectionConfig,
        context: &PoolContext,
    ) -> Result<Self::FutureConn, NetError> {
        let connection = self.0.new_connection(ip, config, context)?;
        Ok(Box::pin(async move { connection.await.map(Guarded) }))
    }

    fn runtime_provider(&self) -> &TokioRuntimeProvider {
        &self.0
    }
}

impl DnsHandle for Guarded {
    type Response = Either<Once<Ready<Result<DnsResponse, NetError>>>, <Exchange as DnsHandle>::Response>;
    type Runtime = TokioRuntimeProvider;

    fn send(&self, request: DnsRequest) -> Self::Response {
        let is_overlay = |name: String| network_of(&name) != Network::Clearnet;
        if request.queries.iter().any(|query| is_overlay(query.name().to_ascii())) {
            return once(ready(no_such_name(&request))).left_stream();
        }
        self.0.send(request).right_stream()
    }
}

/// What a server that knows of no overlay says (RFC 7686 §2 for `.onion`).
fn no_such_name(request: &DnsRequest) -> Result<DnsResponse, NetError> {
    let mut answer = (**request).clone().into_response();
    answer.metadata.response_code = ResponseCode::NXDomain;
    Ok(DnsResponse::from_message(answer)?)
}
