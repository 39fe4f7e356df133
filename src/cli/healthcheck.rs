//! `pannier healthcheck`: for exec probes and scripts.

use std::time::Duration;

use clap::Args;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::target::Target;
use super::{Failure, print, runtime};

#[derive(Debug, Args)]
pub(super) struct Healthcheck {
    #[command(flatten)]
    target: Target,
    /// The service to ask about; all without it.
    #[arg(long, default_value = "")]
    service: String,
    /// How long to wait for the answer.
    #[arg(long, value_name = "MS", default_value_t = 1_000)]
    timeout_ms: u64,
}

impl Healthcheck {
    pub(super) fn run(self) -> Result<(), Failure> {
        let within = Duration::from_millis(self.timeout_ms);
        let asked = runtime()?.block_on(async {
            tokio::time::timeout(within, async {
                let channel = self.target.connect().await?;
                let request = HealthCheckRequest { service: self.service };
                let answer = HealthClient::new(channel).check(request).await;
                match answer {
                    Ok(answer) => Ok(answer),
                    Err(status) => {
                        let hint = self.target.hint(&status).await;
                        let message = hint.unwrap_or_else(|| format!("not serving: {}", status.message()));
                        Err(Failure::Message(message))
                    }
                }
            })
            .await
        });
        let answer = asked
            .map_err(|_| Failure::Message(format!("no answer within {} ms", self.timeout_ms)))??
            .into_inner();
        if answer.status() == ServingStatus::Serving {
            return print("SERVING");
        }
        Err(Failure::Message(format!("not serving: {}", answer.status().as_str_name())))
    }
}
