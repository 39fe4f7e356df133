//! What is answered, by the model and by a sidecar: the messages of the API, with etags and tokens numbered in the order in
//! which they were first given, so that the answers of two runs can be compared whole.

use std::collections::HashMap;

use pannier_proto::cache::v1 as pb;
use pannier_proto::errors::v1::ErrorReason;

/// The answer to one operation.
pub type Answer = Result<Reply, ErrorReason>;

/// What was answered that is no error.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    Get(pb::GetResponse),
    BatchGet(pb::BatchGetResponse),
    Exists(pb::ExistsResponse),
    /// The entries of all pages together: a page may be shorter than asked for.
    List(Vec<pb::Entry>),
    Stats(pb::StatsResponse),
    GetNamespace(pb::GetNamespaceResponse),
    GetOrLease(pb::GetOrLeaseResponse),
    Put(pb::PutResponse),
    BatchPut(pb::BatchPutResponse),
    Delete(pb::DeleteResponse),
    /// (deleted, more) of each call until there is no more.
    DeleteRows(Vec<(i64, bool)>),
    Touch(pb::TouchResponse),
    Evict(pb::EvictResponse),
    Update(pb::UpdateNamespaceResponse),
    DeleteNamespace(pb::DeleteNamespaceResponse),
    Release(pb::ReleaseLeaseResponse),
    Namespaces(Vec<pb::Namespace>),
    /// Of an operation that is several calls, in the order of their effects.
    Several(Vec<Answer>),
    Nothing,
    /// A page larger than asked for, or pages without end.
    Endless,
}

/// How the etag is called in answers that was the so-manieth to be given.
pub fn etag(number: usize) -> String {
    format!("etag {number}")
}

/// How the token is called in answers that was the so-manieth to be given.
pub fn token(number: usize) -> String {
    format!("token {number}")
}

/// Opaque texts that a sidecar gave, numbered.
#[derive(Default)]
pub struct Given {
    texts: Vec<String>,
    numbers: HashMap<String, usize>,
}

impl Given {
    /// The number of a text, which gets the next one if it was not given before.
    fn number(&mut self, text: &str) -> usize {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        self.texts.push(text.to_owned());
        self.numbers.insert(text.to_owned(), self.texts.len() - 1);
        self.texts.len() - 1
    }

    /// The number of the text that was given last.
    pub fn newest(&self) -> usize {
        self.texts.len() - 1
    }

    /// The text that was given as the so-manieth.
    pub fn text(&self, number: usize) -> String {
        self.texts[number].clone()
    }
}

/// All opaque texts that a sidecar gave.
#[derive(Default)]
pub struct Opaque {
    pub etags: Given,
    pub tokens: Given,
}

impl Opaque {
    /// Puts numbers in the place of what is opaque, and takes out the sentences that are for people.
    pub fn number(&mut self, reply: &mut Reply) {
        match reply {
            Reply::Get(get) => get.entry.iter_mut().for_each(|entry| self.number_entry(entry)),
            Reply::BatchGet(get) => get
                .results
                .iter_mut()
                .flat_map(|got| &mut got.entry)
                .for_each(|entry| self.number_entry(entry)),
            Reply::List(entries) => entries.iter_mut().for_each(|entry| self.number_entry(entry)),
            Reply::GetOrLease(got) => {
                got.entry.iter_mut().for_each(|entry| self.number_entry(entry));
                got.lease.iter_mut().for_each(|lease| lease.token = token(self.tokens.number(&lease.token)));
            }
            Reply::Put(put) => put.result.iter_mut().for_each(|put| self.number_put(put)),
            Reply::BatchPut(puts) => puts.results.iter_mut().for_each(|result| match &mut result.outcome {
                Some(pb::batch_put_result::Outcome::Put(put)) => self.number_put(put),
                Some(pb::batch_put_result::Outcome::Error(error)) => {
                    assert!(!error.message.is_empty(), "{error:?} says nothing");
                    (error.message, error.code) = (String::new(), 0);
                }
                None => {}
            }),
            _ => {}
        }
    }

    fn number_entry(&mut self, entry: &mut pb::Entry) {
        entry.etag = etag(self.etags.number(&entry.etag));
    }

    fn number_put(&mut self, put: &mut pb::PutResult) {
        put.etag = etag(self.etags.number(&put.etag));
    }
}
