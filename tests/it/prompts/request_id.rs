//! Repeated requests: one effect, the first answer; another body is refused.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::prompts::v1 as pb;
use tonic::Code;

use super::calls::{new_prompt, number};
use crate::harness::{assert_status, pannier};

fn request_id(number: u8) -> String {
    format!("6f1b3c52-8a0e-4f4e-9c2d-0f6a7b8c9d{number:02}")
}

#[tokio::test]
async fn what_is_repeated_has_one_effect_and_the_first_answer() {
    let pannier = pannier().await;
    macro_rules! twice {
        ($method:ident($request:expr)) => {{
            let first = pannier.prompts().$method($request.clone()).await.unwrap().into_inner();
            let second = pannier.prompts().$method($request.clone()).await.unwrap().into_inner();
            assert_eq!(first, second, stringify!($method));
            first
        }};
    }
    let prompt = Some(new_prompt("a"));
    let save = pb::SaveRequest { prompt, request_id: request_id(1), ..Default::default() };
    let id = twice!(save(save)).prompt_id;
    let prompts = vec![new_prompt("b"), new_prompt("c")];
    let batch = pb::BatchSaveRequest { prompts, request_id: request_id(2), ..Default::default() };
    let more = twice!(batch_save(batch)).results;
    assert_eq!(pannier.row_count("prompts").await, 3);

    let tag = pb::TagRequest {
        prompt_id: id,
        add: vec!["t".into()],
        request_id: request_id(3),
        ..Default::default()
    };
    twice!(tag(tag));
    let score = pb::ScoreRequest {
        prompt_id: id,
        set: vec![number("s", 1.0)],
        request_id: request_id(4),
        ..Default::default()
    };
    twice!(score(score));
    let delete = pb::DeleteRequest { prompt_id: id, request_id: request_id(5), ..Default::default() };
    assert!(twice!(delete(delete)).deleted);
    let prompt_ids = more.iter().map(|result| result.prompt_id).collect();
    let delete = pb::BatchDeleteRequest { prompt_ids, request_id: request_id(6), ..Default::default() };
    assert_eq!(twice!(batch_delete(delete)).deleted_count, 2);
    assert_eq!(pannier.prompt_rows().await, 0);

    let other = pb::SaveRequest { prompt: Some(new_prompt("other")), ..save };
    let refused = pannier.prompts().save(other).await.unwrap_err();
    assert_status(&refused, Code::InvalidArgument, ErrorReason::RequestIdReused);
}
