//! What is still to be sent after a task, for whoever looks at its workflow as a whole.

use crate::protocol::event::Following;
use crate::protocol::{Embed, Json, Signature};

/// More than these are not told: events go with every task.
const MOST: usize = 20;
/// Groups in chains in groups are looked into so deep.
const DEEPEST: usize = 4;

/// The rest of its chain, the next first, and then the body of its chord.
pub(super) fn follows(embed: &Embed) -> Vec<Following<'static>> {
    let mut all = Vec::new();
    let chain = embed.chain.iter().flatten().rev();
    for signature in chain.chain(embed.chord.as_deref()) {
        add(signature, 0, &mut all);
    }
    all
}

fn add(signature: &Signature, depth: usize, all: &mut Vec<Following<'static>>) {
    let inside: &[&str] = match signature.subtask_type.as_deref() {
        Some("group" | "chain") => &["tasks"],
        Some("chord") => &["header", "body"],
        _ => &[],
    };
    if all.len() >= MOST || depth > DEEPEST {
        return;
    }
    if inside.is_empty() {
        if let Some(id) = signature.task_id() {
            all.push(Following { uuid: id.to_owned().into(), name: signature.task.clone().into() });
        }
        return;
    }
    for name in inside {
        let value = signature.kwargs.iter().find(|(key, _)| key == name).map(|(_, value)| value);
        let members: &[Json] = match value {
            Some(Json::List(members)) => members,
            Some(one) => std::slice::from_ref(one),
            None => &[],
        };
        for member in members.iter().filter_map(|member| Signature::from_json(member).ok()) {
            add(&member, depth + 1, all);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(id: &str) -> Signature {
        Signature::new(format!("t.{id}")).with("task_id", id)
    }

    fn composed(kind: &str, members: Vec<(&str, Json)>) -> Signature {
        let kwargs = members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Signature { subtask_type: Some(kind.to_owned()), kwargs, ..Signature::new(format!("celery.{kind}")) }
    }

    fn list(members: &[&Signature]) -> Json {
        Json::List(members.iter().map(|member| member.to_json()).collect())
    }

    #[test]
    fn what_follows_is_told_in_its_order_and_members_instead_of_what_holds_them() {
        let group = composed("group", vec![("tasks", list(&[&named("c"), &named("d")]))]);
        let chord = composed("chord", vec![("header", list(&[&named("e")])), ("body", named("f").to_json())]);
        let embed = Embed {
            chain: Some(vec![chord, group, named("b")]),
            chord: Some(Box::new(named("g"))),
            ..Embed::default()
        };
        let told: Vec<_> = follows(&embed).into_iter().map(|one| (one.uuid, one.name)).collect();
        let ids: Vec<_> = told.iter().map(|(id, _)| &**id).collect();
        assert_eq!(ids, ["b", "c", "d", "e", "f", "g"]);
        assert_eq!(told[0].1, "t.b");
        assert!(follows(&Embed::default()).is_empty());
        let many = Embed { chain: Some((0..100).map(|n| named(&n.to_string())).collect()), ..Embed::default() };
        assert_eq!(follows(&many).len(), MOST);
    }
}
