//! Domain types to replies.

use pannier_proto::prompts::v1 as pb;

use super::super::domain::{Body, Conversation, Prompt, Score, ScoreValue, Status};
use crate::convert::{duration, timestamp};

/// A prompt as the wire has it.
pub(in super::super) fn prompt(prompt: Prompt) -> pb::Prompt {
    let message = prompt.body.as_ref().map(|body| body.error_message.clone()).unwrap_or_default();
    let error = match prompt.status {
        Status::Ok => None,
        Status::Failed => Some(pb::PromptError { code: prompt.error_code, message }),
    };
    let status = match prompt.status {
        Status::Ok => pb::PromptStatus::Ok,
        Status::Failed => pb::PromptStatus::Failed,
    };
    pb::Prompt {
        id: prompt.id,
        body: prompt.body.map(body),
        has_body: prompt.has_body,
        body_bytes: prompt.body_bytes,
        prompt_time: Some(timestamp(prompt.prompt_us)),
        create_time: Some(timestamp(prompt.create_us)),
        backend: prompt.names.backend,
        model: prompt.names.model,
        framework: prompt.names.framework,
        provider: prompt.names.provider,
        status: status.into(),
        error,
        confidence: prompt.measures.confidence,
        latency: prompt.measures.latency_us.map(duration),
        prompt_tokens: prompt.measures.prompt_tokens,
        completion_tokens: prompt.measures.completion_tokens,
        cost_micros: prompt.measures.cost_micros,
        conversation_id: prompt.conversation_id,
        tags: prompt.tags,
        scores: scores(prompt.scores),
        import_key: prompt.import_key,
        search_truncated: prompt.is_truncated,
    }
}

fn body(body: Body) -> pb::PromptBody {
    pb::PromptBody {
        idea: body.idea,
        context: body.context,
        improved_prompt: body.improved_prompt,
        directive: body.directive,
        guardrails: body.guardrails,
        reasoning: body.reasoning,
        metadata_json: body.metadata_json,
        role: body.role,
    }
}

/// Scores as the wire has them.
pub(in super::super) fn scores(scores: Vec<Score>) -> Vec<pb::PromptScore> {
    use pb::prompt_score::Value;
    let score = |score: Score| pb::PromptScore {
        name: score.name,
        value: Some(match score.value {
            ScoreValue::Number(number) => Value::Number(number),
            ScoreValue::Boolean(boolean) => Value::Boolean(boolean),
            ScoreValue::Category(category) => Value::Category(category),
        }),
        update_time: Some(timestamp(score.update_us)),
    };
    scores.into_iter().map(score).collect()
}

/// A conversation as the wire has it.
pub(in super::super) fn conversation(conversation: Conversation) -> pb::Conversation {
    pb::Conversation {
        conversation_id: conversation.id,
        prompt_count: conversation.prompt_count,
        first_time: Some(timestamp(conversation.first_us)),
        last_time: Some(timestamp(conversation.last_us)),
    }
}
