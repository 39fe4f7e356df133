//! Stats: jobs by type and status, and their items.

use pannier_proto::jobs::v1 as pb;
use pannier_proto::jobs::v1::JobStatus::{Completed, Failed, Pending, Processing};
use prost_types::Timestamp;

use super::calls::{failure, of_type, success};
use crate::cache::items::us;
use crate::harness::{START_US, pannier, pannier_with};

fn at(seconds: i64) -> Timestamp {
    Timestamp { seconds: START_US / 1_000_000 + seconds, nanos: 0 }
}

/// (type, status, jobs, successful, failed)
fn told(stats: &pb::StatsResponse) -> Vec<(&str, pb::JobStatus, i64, i64, i64)> {
    let each = stats.counts.iter().map(|counts| {
        let pb::JobCounts { job_count, successful_count, failed_count, .. } = *counts;
        (counts.r#type.as_str(), counts.status(), job_count, successful_count, failed_count)
    });
    each.collect()
}

#[tokio::test]
async fn without_jobs_there_is_nothing_to_tell() {
    let pannier = pannier().await;
    assert_eq!(pannier.job_stats(Default::default()).await, pb::StatsResponse::default());
}

#[tokio::test]
async fn jobs_are_counted_by_type_and_status_with_their_items() {
    let pannier = pannier().await;
    for (second, job_type) in ["batch", "playlist", "batch", "batch"].into_iter().enumerate() {
        let id = pannier.create(of_type(job_type)).await.id;
        match second {
            0 => {}
            1 => {
                pannier.add_results(&id, vec![success("a"), success("b"), failure("c", "E")]).await;
            }
            2 | 3 => {
                pannier.add_results(&id, vec![success("a"), failure("b", "E")]).await;
                pannier.complete(&id).await.unwrap();
            }
            _ => unreachable!(),
        }
        pannier.advance_s(1);
    }
    let all = pannier.job_stats(Default::default()).await;
    let expected =
        [("batch", Pending, 1, 0, 0), ("batch", Completed, 2, 2, 2), ("playlist", Processing, 1, 2, 1)];
    assert_eq!(told(&all), expected);
    assert_eq!((us(all.oldest_open_time.as_ref()), all.truncated), (Some(START_US), false));
    assert_eq!(us(all.oldest_counted_time.as_ref()), Some(START_US));

    let playlists =
        pannier.job_stats(pb::StatsRequest { r#type: "playlist".into(), ..Default::default() }).await;
    assert_eq!(told(&playlists), expected[2..]);
    assert_eq!(us(playlists.oldest_open_time.as_ref()), Some(START_US + 1_000_000));
    let range = pb::StatsRequest {
        create_time_from: Some(at(1)),
        create_time_before: Some(at(3)),
        ..Default::default()
    };
    let ranged = pannier.job_stats(range).await;
    assert_eq!(told(&ranged), [("batch", Completed, 1, 1, 1), ("playlist", Processing, 1, 2, 1)]);
    assert_eq!(us(ranged.oldest_counted_time.as_ref()), Some(START_US + 1_000_000));
    assert_eq!(us(ranged.oldest_open_time.as_ref()), Some(START_US), "whatever the range");
}

#[tokio::test]
async fn no_more_jobs_are_read_than_the_setting_says() {
    let pannier = pannier_with(|settings| settings.jobs.stats_jobs_max = 3).await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(pannier.job().await);
        pannier.advance_s(1);
    }
    pannier.fail(&ids[0], None).await.unwrap();
    let four = pannier.job_stats(Default::default()).await;
    assert_eq!((told(&four), four.truncated), (vec![("batch", Pending, 3, 0, 0)], true));
    assert_eq!(us(four.oldest_counted_time.as_ref()), Some(START_US + 1_000_000));
    pannier.delete_job(&ids[3]).await;
    let three = pannier.job_stats(Default::default()).await;
    assert_eq!(told(&three), [("batch", Pending, 2, 0, 0), ("batch", Failed, 1, 0, 0)]);
    assert!(!three.truncated);
}
