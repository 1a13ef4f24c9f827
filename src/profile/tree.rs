//! Values within values, by key.

use figment::value::{Dict, Value};

use crate::profile::sources::Key;

/// The keys in `root` for which `test` holds, the outermost of each.
pub(super) fn keys(root: &Value, test: &dyn Fn(&Key, &Value) -> bool) -> Vec<Key> {
    fn collect(
        key: &Key,
        value: &Value,
        test: &dyn Fn(&Key, &Value) -> bool,
        found: &mut Vec<Key>,
    ) {
        if test(key, value) {
            found.push(key.clone());
            return;
        }
        match value {
            Value::Dict(_, entries) => {
                for (name, value) in entries {
                    collect(&key.child(name), value, test, found);
                }
            }
            Value::Array(_, items) => {
                for (index, value) in items.iter().enumerate() {
                    collect(&key.child(&index.to_string()), value, test, found);
                }
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    collect(&Key::from(""), root, test, &mut found);
    found
}

/// A dictionary (also for lists) that holds `value` at `key` and nothing else.
pub(super) fn nest(key: &Key, value: Value) -> Value {
    key.segments()
        .rev()
        .fold(value, |inner, segment| Value::from(Dict::from([(segment.to_owned(), inner)])))
}

/// Puts `value` at `path` below `slot`, making sections and the next list element as needed.
pub(super) fn put(
    slot: &mut Option<Value>,
    path: &[&str],
    value: Value,
    key: &Key,
) -> Result<(), String> {
    let Some((first, rest)) = path.split_first() else {
        *slot = Some(value);
        return Ok(());
    };
    if let Ok(index) = first.parse::<usize>() {
        if !matches!(slot, Some(Value::Array(..))) {
            *slot = Some(Value::from(Vec::<Value>::new()));
        }
        let Some(Value::Array(_, items)) = slot else { return Ok(()) };
        if index > items.len() {
            return Err(format!("`{key}`: there is no such entry; the next is [{}]", items.len()));
        }
        let mut item = items.get(index).cloned();
        put(&mut item, rest, value, key)?;
        if let Some(item) = item {
            if index == items.len() {
                items.push(item);
            } else {
                items[index] = item;
            }
        }
    } else {
        if !matches!(slot, Some(Value::Dict(..))) {
            *slot = Some(Value::from(Dict::new()));
        }
        let Some(Value::Dict(_, entries)) = slot else { return Ok(()) };
        let mut entry = entries.get(*first).cloned();
        put(&mut entry, rest, value, key)?;
        if let Some(entry) = entry {
            entries.insert((*first).to_owned(), entry);
        }
    }
    Ok(())
}

/// Takes the value at `key` out of `root`; a list element goes with its whole list, so that the
/// elements behind it keep their places. Answers whether anything was there.
pub(super) fn remove(root: &mut Value, key: &Key) -> bool {
    let mut value = root;
    let segments: Vec<&str> = key.segments().collect();
    // The innermost part of the path that is a name, not an index.
    let Some(last) = segments.iter().rposition(|segment| segment.parse::<usize>().is_err()) else {
        return false;
    };
    for segment in &segments[..last] {
        let child = match value {
            Value::Dict(_, dict) => dict.get_mut(*segment),
            Value::Array(_, items) => {
                segment.parse::<usize>().ok().and_then(|index| items.get_mut(index))
            }
            _ => None,
        };
        let Some(child) = child else { return false };
        value = child;
    }
    match value {
        Value::Dict(_, dict) => dict.remove(segments[last]).is_some(),
        _ => false,
    }
}
