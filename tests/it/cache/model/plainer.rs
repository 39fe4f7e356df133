//! Operations with one thing less in them, for sequences that are made small.

use super::operations::{Condition, Content, Durability, Expiry, Item, Operation, Read, Write};

impl Operation {
    /// All operations that are one step plainer than this one.
    pub fn plainer(&self) -> Vec<Self> {
        match self {
            Self::Read(namespace, read) => {
                read.plainer().into_iter().map(|read| Self::Read(namespace, read)).collect()
            }
            Self::Write(namespace, write, id) => {
                let without_id = id.map(|_| Self::Write(namespace, write.clone(), None));
                let plainer = write.plainer().into_iter().map(|write| Self::Write(namespace, write, *id));
                without_id.into_iter().chain(plainer).collect()
            }
            _ => Vec::new(),
        }
    }
}

impl Read {
    fn plainer(&self) -> Vec<Self> {
        match self {
            Self::BatchGet(keys) => without_one(keys).into_iter().map(Self::BatchGet).collect(),
            Self::Exists(keys) => without_one(keys).into_iter().map(Self::Exists).collect(),
            Self::List { prefix, tag, page_size, with_values } => {
                let (page_size, with_values) = (*page_size, *with_values);
                let of = |prefix, tag| Self::List { prefix, tag, page_size, with_values };
                let mut plainer = Vec::new();
                if !prefix.is_empty() {
                    plainer.push(of("", tag));
                }
                if !tag.is_empty() {
                    plainer.push(of(prefix, ""));
                }
                plainer
            }
            _ => Vec::new(),
        }
    }
}

impl Write {
    fn plainer(&self) -> Vec<Self> {
        match self {
            Self::Put(item, durability) => {
                let unsaid = Self::Put(item.clone(), Durability::Unsaid);
                let unsaid = Some(unsaid).filter(|_| *durability != Durability::Unsaid);
                let plainer = item.plainer().into_iter().map(|item| Self::Put(item, *durability));
                unsaid.into_iter().chain(plainer).collect()
            }
            Self::BatchPut(items, durability) => {
                let mut plainer: Vec<_> =
                    without_one(items).into_iter().map(|items| Self::BatchPut(items, *durability)).collect();
                for (index, item) in items.iter().enumerate() {
                    plainer.extend(item.plainer().into_iter().map(|item| {
                        let mut items = items.clone();
                        items[index] = item;
                        Self::BatchPut(items, *durability)
                    }));
                }
                plainer
            }
            Self::Delete(items) => without_one(items).into_iter().map(Self::Delete).collect(),
            Self::Touch(items) => without_one(items).into_iter().map(Self::Touch).collect(),
            _ => Vec::new(),
        }
    }
}

impl Item {
    fn plainer(&self) -> Vec<Self> {
        let mut plainer: Vec<Self> = (0..self.tags.len())
            .map(|index| {
                let mut item = self.clone();
                item.tags.remove(index);
                item
            })
            .collect();
        plainer.extend([
            Self { content: Content::Noise(1, 0), ..self.clone() },
            Self { content_type: "", ..self.clone() },
            Self { metadata: "", ..self.clone() },
            Self { expiry: Expiry::Unsaid, ..self.clone() },
            Self { stale_ms: None, ..self.clone() },
            Self { condition: Condition::Always, ..self.clone() },
            Self { lease: None, ..self.clone() },
        ]);
        plainer.retain(|item| item != self);
        plainer
    }
}

/// All lists with one of the elements less, as long as one is left.
fn without_one<T: Clone>(all: &[T]) -> Vec<Vec<T>> {
    let count = if all.len() > 1 { all.len() } else { 0 };
    (0..count).map(|index| [&all[..index], &all[index + 1..]].concat()).collect()
}
