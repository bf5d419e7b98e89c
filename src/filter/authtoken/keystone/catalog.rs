//! The service token's catalog: where Keystone wants to be asked (keystoneauth1 5.18, `access/service_catalog.py`).
//!
//! Must not know tokens.

use serde_json::Value;

/// The address of Keystone in the catalog of a token (`{"token": …}` or `{"access": …}`): the first endpoint of an
/// identity service with that interface and, if one is wanted, region.
pub fn identity_endpoint(token: &Value, interface: &str, region: Option<&str>) -> Option<String> {
    if let Some(token) = token.get("token") {
        let wanted = interface.trim_end_matches(['U', 'R', 'L']);
        return endpoints(token.get("catalog")?).find_map(|endpoint| {
            let place = text(endpoint, "region_id").or_else(|| text(endpoint, "region"));
            let fits = text(endpoint, "interface") == Some(wanted) && (region.is_none() || region == place);
            if fits { address(endpoint, "url") } else { None }
        });
    }
    let key = if interface.contains("URL") { interface.to_owned() } else { format!("{interface}URL") };
    endpoints(token.get("access")?.get("serviceCatalog")?).find_map(|endpoint| {
        let fits = region.is_none() || region == text(endpoint, "region");
        if fits { address(endpoint, &key) } else { None }
    })
}

fn endpoints(catalog: &Value) -> impl Iterator<Item = &Value> {
    let services = catalog.as_array().into_iter().flatten();
    let identity = services.filter(|service| text(service, "type") == Some("identity"));
    identity.filter_map(|service| service.get("endpoints")?.as_array()).flatten()
}

fn address(endpoint: &Value, key: &str) -> Option<String> {
    text(endpoint, key).filter(|url| !url.is_empty()).map(str::to_owned)
}

fn text<'v>(value: &'v Value, key: &str) -> Option<&'v str> {
    value.get(key)?.as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn interface_and_region_choose() {
        let endpoint = |interface: &str, region: &str| {
            json!({"interface": interface, "region": region, "region_id": region,
                   "url": format!("http://{interface}.{region}/v3")})
        };
        let token = json!({"token": {"catalog": [
            {"type": "compute", "endpoints": [endpoint("internal", "compute")]},
            {"type": "identity", "endpoints": [
                endpoint("public", "one"), endpoint("internal", "one"), endpoint("internal", "two")]},
        ]}});
        let chosen = |interface, region| identity_endpoint(&token, interface, region);
        assert_eq!(chosen("internal", None).as_deref(), Some("http://internal.one/v3"));
        assert_eq!(chosen("internalURL", Some("two")).as_deref(), Some("http://internal.two/v3"));
        assert_eq!(chosen("admin", None), None);
        assert_eq!(chosen("public", Some("two")), None);
        assert_eq!(identity_endpoint(&json!({"token": {}}), "public", None), None);
    }

    #[test]
    fn the_old_catalog_has_an_address_per_interface() {
        let token = json!({"access": {"serviceCatalog": [{"type": "identity", "endpoints": [
            {"region": "one", "publicURL": "http://p/v2.0", "adminURL": "http://a/v2.0"},
            {"region": "two", "adminURL": "http://b/v2.0"},
        ]}]}});
        assert_eq!(identity_endpoint(&token, "admin", None).as_deref(), Some("http://a/v2.0"));
        assert_eq!(identity_endpoint(&token, "admin", Some("two")).as_deref(), Some("http://b/v2.0"));
        assert_eq!(identity_endpoint(&token, "publicURL", None).as_deref(), Some("http://p/v2.0"));
        assert_eq!(identity_endpoint(&token, "internal", None), None);
    }
}
