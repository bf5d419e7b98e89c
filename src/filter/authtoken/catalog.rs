//! The catalog of services as `X-Service-Catalog` has it: in the shape of v2.0, as Python writes JSON.
//!
//! Must not know tokens.

use serde_json::{Map, Value};

use crate::filter::python::{dict_order, json_string};

/// A catalog of v3 in the shape of v2.0: the endpoints of a region together, each under its interface's name
/// (`auth_token._request._normalize_catalog`). What lacks a part that the shape needs is left out.
pub fn as_v2(catalog: &Value, python3: bool) -> Value {
    let services = catalog.as_array().map(Vec::as_slice).unwrap_or_default();
    services.iter().filter_map(|one| service(one, python3)).collect()
}

fn service(service: &Value, python3: bool) -> Option<Value> {
    let mut whole = Map::new();
    whole.insert("type".to_owned(), service.get("type")?.clone());
    if let Some(name) = service.get("name") {
        whole.insert("name".to_owned(), name.clone());
    }
    let mut regions: Vec<(Value, Map<String, Value>)> = Vec::new();
    for endpoint in service.get("endpoints").and_then(Value::as_array).into_iter().flatten() {
        let name = endpoint.get("region").cloned().unwrap_or_default();
        let (Some(interface), Some(url)) = (endpoint.get("interface").and_then(Value::as_str), endpoint.get("url"))
        else {
            continue;
        };
        if !regions.iter().any(|(known, _)| *known == name) {
            let mut region = Map::new();
            if super::identity::truthy(&name) {
                region.insert("region".to_owned(), name.clone());
            }
            regions.push((name.clone(), region));
        }
        if let Some((_, region)) = regions.iter_mut().find(|(known, _)| *known == name) {
            region.insert(interface.to_lowercase() + "URL", url.clone());
        }
    }
    let names = regions.iter().map(|(name, _)| name.as_str().unwrap_or_default());
    let order = order(names, python3);
    let region = |at: usize| Some(Value::Object(regions.get(at)?.1.clone()));
    whole.insert("endpoints".to_owned(), order.into_iter().filter_map(region).collect());
    Some(Value::Object(whole))
}

/// The order in which a dictionary gives its keys back.
fn order<'a>(keys: impl ExactSizeIterator<Item = &'a str>, python3: bool) -> Vec<usize> {
    if python3 { (0..keys.len()).collect() } else { dict_order(keys) }
}

/// `json.dumps`: ASCII only, a blank behind `,` and `:`.
pub fn dumps(value: &Value, python3: bool) -> String {
    let mut out = String::new();
    write(&mut out, value, python3);
    out
}

fn write(out: &mut String, value: &Value, python3: bool) {
    match value {
        Value::String(text) => out.push_str(&json_string(text)),
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at == 0 { "" } else { ", " });
                write(out, item, python3);
            }
            out.push(']');
        }
        Value::Object(items) => {
            out.push('{');
            let pairs: Vec<_> = items.iter().collect();
            let order = order(pairs.iter().map(|(key, _)| key.as_str()), python3);
            for (at, (key, item)) in order.into_iter().filter_map(|place| pairs.get(place)).enumerate() {
                out.push_str(if at == 0 { "" } else { ", " });
                out.push_str(&json_string(key));
                out.push_str(": ");
                write(out, item, python3);
            }
            out.push('}');
        }
        simple => out.push_str(&simple.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn endpoints_of_a_region_come_together() {
        let catalog = json!([
            {"id": "s1", "type": "volumev3", "name": "cinder", "endpoints": [
                {"id": "e1", "interface": "public", "region": "R1", "url": "http://p/1"},
                {"id": "e2", "interface": "Internal", "region": "R2", "url": "http://i/2"},
                {"id": "e3", "interface": "admin", "region": "R1", "url": "http://a/é"}]},
            {"type": "image", "endpoints": [{"interface": "public", "region": null, "url": "http://g"}]},
            {"type": "empty"}
        ]);
        assert_eq!(
            dumps(&as_v2(&catalog, true), true),
            r#"[{"type": "volumev3", "name": "cinder", "endpoints": [{"region": "R1", "publicURL": "http://p/1", "adminURL": "http://a/\u00e9"}, {"region": "R2", "internalURL": "http://i/2"}]}, {"type": "image", "endpoints": [{"publicURL": "http://g"}]}, {"type": "empty", "endpoints": []}]"#
        );
    }

    #[test]
    fn python2_writes_dictionaries_in_the_order_of_its_hash_tables() {
        let catalog = json!([{"type": "volume", "name": "cinder", "endpoints_links": [], "endpoints": [
            {"id": "e1", "region": "R1", "adminURL": "a", "internalURL": "i", "publicURL": "p"}]}]);
        assert_eq!(
            dumps(&catalog, false),
            r#"[{"endpoints": [{"adminURL": "a", "region": "R1", "publicURL": "p", "id": "e1", "internalURL": "i"}], "endpoints_links": [], "type": "volume", "name": "cinder"}]"#
        );
        let catalog = json!([{"type": "volume", "endpoints": [
            {"interface": "public", "region": "RegionOne", "url": "1"},
            {"interface": "public", "region": "RegionTwo", "url": "2"}]}]);
        assert_eq!(
            dumps(&as_v2(&catalog, false), false),
            r#"[{"endpoints": [{"region": "RegionOne", "publicURL": "1"}, {"region": "RegionTwo", "publicURL": "2"}], "type": "volume"}]"#
        );
    }

    #[test]
    fn json_is_written_as_python_writes_it() {
        let value = json!({"a": [1, true, null, {}], "b": "\u{7f}é"});
        assert_eq!(dumps(&value, true), r#"{"a": [1, true, null, {}], "b": "\u007f\u00e9"}"#);
    }
}
