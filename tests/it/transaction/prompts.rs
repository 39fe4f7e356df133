//! Prompts in commits: by the rules of the calls, all or nothing.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::prompts::v1 as prompts;
use pannier_proto::transaction::v1::mutation::What;
use pannier_proto::transaction::v1::mutation_result::Result as Outcome;
use tonic::Code;

use super::calls::{assert_failed, set};
use crate::harness::{pannier, violated_fields};
use crate::prompts::calls::{new_prompt, number};

fn save(idea: &str) -> What {
    let prompt = Some(prompts::NewPrompt { conversation_id: "c".into(), ..new_prompt(idea) });
    What::PromptsSave(prompts::SaveRequest { prompt, ..Default::default() })
}

fn tag(prompt_id: i64, tag: &str) -> What {
    What::PromptsTag(prompts::TagRequest { prompt_id, add: vec![tag.into()], ..Default::default() })
}

fn score(prompt_id: i64) -> What {
    let set = vec![number("s", 1.0)];
    What::PromptsScore(prompts::ScoreRequest { prompt_id, set, ..Default::default() })
}

fn delete(prompt_id: i64) -> What {
    What::PromptsDelete(prompts::DeleteRequest { prompt_id, ..Default::default() })
}

fn save_all(backends: &[&str]) -> What {
    let of = |backend: &&str| prompts::NewPrompt { backend: (*backend).into(), ..new_prompt("a") };
    let prompts = backends.iter().map(of).collect();
    What::PromptsBatchSave(prompts::BatchSaveRequest { prompts, ..Default::default() })
}

#[tokio::test]
async fn prompts_their_marks_and_what_belongs_to_them_change_together() {
    let pannier = pannier().await;
    let first = pannier.save(new_prompt("first")).await;
    let results = pannier
        .commit(vec![
            save("second"),
            save_all(&["x", "y"]),
            tag(first, "t"),
            score(first),
            delete(first),
            save("third"),
            set("last", "1"),
        ])
        .await;
    let Outcome::PromptsSave(saved) = &results[0] else { panic!("{results:?}") };
    assert_eq!(pannier.prompt(saved.prompt_id).await.body.unwrap().idea, "second");
    let Outcome::PromptsBatchSave(batch) = &results[1] else { panic!("{results:?}") };
    assert_eq!(batch.results.len(), 2);
    let Outcome::PromptsTag(tagged) = &results[2] else { panic!("{results:?}") };
    assert_eq!(tagged.tags, ["t"]);
    let Outcome::PromptsScore(scored) = &results[3] else { panic!("{results:?}") };
    assert_eq!(scored.scores.len(), 1);
    let Outcome::PromptsDelete(deleted) = &results[4] else { panic!("{results:?}") };
    assert!(deleted.deleted);
    assert_eq!(pannier.row_count("prompts").await, 4);
    assert_eq!(pannier.conversations(0).await[0].1, 2);
    let prompt_ids = batch.results.iter().map(|result| result.prompt_id).collect();
    let request = prompts::BatchDeleteRequest { prompt_ids, ..Default::default() };
    let results = pannier.commit(vec![What::PromptsBatchDelete(request)]).await;
    let Outcome::PromptsBatchDelete(deleted) = &results[0] else { panic!("{results:?}") };
    assert_eq!(deleted.deleted_count, 2);
}

#[tokio::test]
async fn a_mutation_that_fails_takes_the_prompts_along() {
    let pannier = pannier().await;
    let first = pannier.save(new_prompt("first")).await;
    let rows = pannier.prompt_rows().await;
    let refused = pannier.try_commit(vec![save("a"), tag(first, "t"), tag(1 << 40, "t")]).await.unwrap_err();
    assert_failed(&refused, "mutations[2].prompts_tag", Code::NotFound, ErrorReason::PromptNotFound);
    let refused = pannier.try_commit(vec![delete(first), score(first)]).await.unwrap_err();
    assert_failed(&refused, "mutations[1].prompts_score", Code::NotFound, ErrorReason::PromptNotFound);
    // What one item of a batch runs into fails the commit.
    let refused = pannier.try_commit(vec![save("a"), save_all(&["anthropic", ""])]).await.unwrap_err();
    assert_eq!(violated_fields(&refused), ["mutations[1].prompts_batch_save.prompts[1].backend"]);
    assert_eq!(pannier.prompt_rows().await, rows);
    assert_eq!(pannier.prompt(first).await.tags, [""; 0]);
}

#[tokio::test]
async fn what_is_wrong_is_told_with_its_place() {
    let pannier = pannier().await;
    let mut wrong = save("");
    let What::PromptsSave(request) = &mut wrong else { unreachable!() };
    request.request_id = "6f1b3c52-8a0e-4f4e-9c2d-0f6a7b8c9d0e".into();
    request.durability = 1;
    let refused = pannier.try_commit(vec![save("a"), wrong, tag(0, "")]).await.unwrap_err();
    let expected = [
        "mutations[1].prompts_save.durability",
        "mutations[1].prompts_save.prompt.body.idea",
        "mutations[1].prompts_save.request_id",
        "mutations[2].prompts_tag.add[0]",
        "mutations[2].prompts_tag.prompt_id",
    ];
    assert_eq!(violated_fields(&refused), expected);
    assert_eq!(pannier.prompt_rows().await, 0);
}
