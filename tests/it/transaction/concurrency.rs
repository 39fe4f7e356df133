//! Many clients at once: sums agree, nobody sees half of a commit.

use std::sync::Arc;

use pannier_proto::cache::v1::put_item::Condition;
use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::jobs::v1 as jobs;
use pannier_proto::jobs::v1::report_progress_request::Progress;
use pannier_proto::settings::v1::set_request;
use pannier_proto::transaction::v1::mutation::What;
use tokio::task::JoinSet;
use tonic::Code;
use tonic_types::StatusExt as _;

use super::calls::{create, enqueue, job_id, put, put_if, set, set_if};
use crate::cache::items::{Random, value_of};
use crate::harness::{Pannier, pannier};

const CLIENTS: u64 = 16;
const ACCOUNTS: u64 = 4;
const TRANSFERS: u64 = 15;

/// Takes from the account in the settings and gives to the one in the cache, or the other way round, if neither has changed.
/// Counts itself in a job, and enqueues a task.
async fn transfer(pannier: &Pannier, random: &mut Random) -> bool {
    let (from, to) = (random.below(ACCOUNTS), random.below(ACCOUNTS));
    let amount = i64::try_from(random.below(19)).unwrap() - 9;
    let (setting, entry) = (format!("account{from}"), format!("account{to}"));
    let has = pannier.try_setting(&setting).await.unwrap();
    let other = pannier.peek("n", &entry).await.unwrap();
    let taken = has.value_json.parse::<i64>().unwrap() - amount;
    let given = String::from_utf8(value_of(&other).to_vec()).unwrap().parse::<i64>().unwrap() + amount;
    let add = jobs::ProgressCounts { successful_count: 1, failed_count: 0 };
    let count = |number| {
        What::JobsReportProgress(jobs::ReportProgressRequest {
            job_id: job_id(number),
            progress: Some(Progress::Add(add)),
            ..Default::default()
        })
    };
    let mut whats = vec![
        set_if(&setting, &taken.to_string(), Some(set_request::Condition::IfRevision(has.revision))),
        put_if(&entry, &given.to_string(), Condition::IfEtag(other.etag)),
        count(from),
        enqueue("transfer"),
    ];
    if from != to {
        whats.push(count(to));
    }
    // In every order: commits meet in the middle.
    let turn = usize::try_from(random.below(4)).unwrap();
    whats.rotate_left(turn);
    match pannier.try_commit(whats).await {
        Ok(_) => true,
        Err(status) => {
            assert_eq!(status.code(), Code::Aborted, "{status:?}");
            let reason = status.get_error_details().error_info().unwrap().reason.clone();
            let expected = [ErrorReason::SettingChanged, ErrorReason::EtagMismatch];
            let names = expected.map(|reason| reason.as_str_name().trim_start_matches("ERROR_REASON_"));
            assert!(names.contains(&reason.as_str()), "{status:?}");
            false
        }
    }
}

#[tokio::test]
async fn transfers_between_services_lose_and_make_nothing() {
    transfers(&[Arc::new(pannier().await)]).await;
}

/// Has clients of several sidecars on one database make transfers, and adds up.
pub async fn transfers(sidecars: &[Arc<Pannier>]) {
    let pannier = &sidecars[0];
    for account in 0..ACCOUNTS {
        let name = format!("account{account}");
        pannier.commit(vec![set(&name, "100"), put(&name, "100"), create(account)]).await;
    }
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let pannier = sidecars[usize::try_from(client).unwrap() % sidecars.len()].clone();
        clients.spawn(async move {
            let mut random = Random::new(client + 1);
            let mut done = 0;
            for _ in 0..TRANSFERS {
                done += usize::from(transfer(&pannier, &mut random).await);
            }
            done
        });
    }
    let done: usize = clients.join_all().await.into_iter().sum();
    assert!(done > 0, "none succeeded");
    let (mut sum, mut counted) = (0, 0);
    for account in 0..ACCOUNTS {
        let name = format!("account{account}");
        let entry = pannier.get("n", &name).await.unwrap();
        sum += pannier.setting(&name).await.parse::<i64>().unwrap();
        sum += String::from_utf8(value_of(&entry).to_vec()).unwrap().parse::<i64>().unwrap();
        counted += pannier.get_job(&job_id(account)).await.successful_count;
    }
    assert_eq!(sum, 200 * i64::try_from(ACCOUNTS).unwrap());
    let tasks = pannier.row_count("queue_tasks").await;
    assert_eq!(
        tasks,
        i64::try_from(done).unwrap(),
        "a task for each transfer that was done, and for no other"
    );
    assert!((tasks..=2 * tasks).contains(&counted), "{counted} counts of {tasks} transfers");
}

#[tokio::test]
async fn of_those_who_make_the_same_thing_at_once_one_succeeds_whole() {
    let pannier = Arc::new(pannier().await);
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let pannier = pannier.clone();
        clients.spawn(async move {
            let mine = client.to_string();
            let mut whats = vec![
                create(1),
                put_if("k", &mine, Condition::IfAbsent(true)),
                set_if("s", &mine, Some(set_request::Condition::IfAbsent(true))),
                enqueue("a"),
            ];
            let turn = usize::try_from(client % 4).unwrap();
            whats.rotate_left(turn);
            pannier.try_commit(whats).await.map(|_| mine).map_err(|status| status.code())
        });
    }
    let results = clients.join_all().await;
    let won: Vec<&String> = results.iter().flatten().collect();
    assert_eq!(won.len(), 1, "{results:?}");
    assert!(results.iter().all(|result| matches!(result, Ok(_) | Err(Code::AlreadyExists))), "{results:?}");
    assert_eq!(&pannier.setting("s").await, won[0]);
    assert_eq!(value_of(&pannier.get("n", "k").await.unwrap()), won[0].as_bytes());
    assert_eq!(pannier.row_count("queue_tasks").await, 1);
}
