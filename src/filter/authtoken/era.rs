//! Which release of the original answers: keystoneclient's auth_token, or one of keystonemiddleware's.
//!
//! Must not know what the releases do differently; whoever does it asks `era >= Era::KSM_4_18`.

use std::fmt;

use crate::release::Release;

/// A release of the library that `authtoken` comes from, compared by age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Era {
    library: Library,
    major: u8,
    minor: u8,
}

/// The two homes of the filter, in order of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Library {
    Client,
    Middleware,
}

const fn client(major: u8, minor: u8) -> Era {
    Era { library: Library::Client, major, minor }
}

const fn middleware(major: u8, minor: u8) -> Era {
    Era { library: Library::Middleware, major, minor }
}

/// The releases at which something changed: `CLIENT_` for keystoneclient, `KSM_` for keystonemiddleware.
#[allow(missing_docs)]
impl Era {
    pub const CLIENT_0_4: Self = client(0, 4);
    /// include_service_catalog, enforce_token_bind.
    pub const CLIENT_0_6: Self = client(0, 6);
    /// identity_uri.
    pub const CLIENT_0_8: Self = client(0, 8);
    /// check_revocations_for_cached, hash_algorithms.
    pub const CLIENT_0_9: Self = client(0, 9);
    pub const CLIENT_1_6: Self = client(1, 6);
    pub const KSM_1_0: Self = middleware(1, 0);
    /// Pools of memcached connections, service tokens.
    pub const KSM_1_2: Self = middleware(1, 2);
    /// Auth plugins; WWW-Authenticate on the app's own 401.
    pub const KSM_1_3: Self = middleware(1, 3);
    pub const KSM_1_5: Self = middleware(1, 5);
    /// Cache keys are SHA-256; 401 by WebOb.
    pub const KSM_2_0: Self = middleware(2, 0);
    /// region_name.
    pub const KSM_2_2: Self = middleware(2, 2);
    pub const KSM_2_3: Self = middleware(2, 3);
    pub const KSM_4_1: Self = middleware(4, 1);
    pub const KSM_4_4: Self = middleware(4, 4);
    /// 401 in JSON.
    pub const KSM_4_5: Self = middleware(4, 5);
    /// X-Is-Admin-Project.
    pub const KSM_4_6: Self = middleware(4, 6);
    pub const KSM_4_9: Self = middleware(4, 9);
    /// service_token_roles.
    pub const KSM_4_12: Self = middleware(4, 12);
    pub const KSM_4_14: Self = middleware(4, 14);
    pub const KSM_4_17: Self = middleware(4, 17);
    /// www_authenticate_uri; tokens are stripped.
    pub const KSM_4_18: Self = middleware(4, 18);
    pub const KSM_4_22: Self = middleware(4, 22);
    /// 503 has a detail.
    pub const KSM_5_0: Self = middleware(5, 0);
    /// Double quotes in WWW-Authenticate.
    pub const KSM_5_1: Self = middleware(5, 1);
    pub const KSM_5_2: Self = middleware(5, 2);
    /// delay_auth_decision covers an unavailable Keystone.
    pub const KSM_5_3: Self = middleware(5, 3);
    /// Revocation options are gone.
    pub const KSM_6_0: Self = middleware(6, 0);
    /// interface.
    pub const KSM_6_1: Self = middleware(6, 1);
    /// service_type and access rules; PKI is gone.
    pub const KSM_7_0: Self = middleware(7, 0);
    /// Keystone v2.0 is gone.
    pub const KSM_8_0: Self = middleware(8, 0);
    pub const KSM_9_0: Self = middleware(9, 0);
    /// interface is internal.
    pub const KSM_9_1: Self = middleware(9, 1);
    pub const KSM_9_2: Self = middleware(9, 2);
    /// The pool of memcached connections is the default.
    pub const KSM_9_3: Self = middleware(9, 3);
    pub const KSM_9_4: Self = middleware(9, 4);
    pub const KSM_10_1: Self = middleware(10, 1);
    /// Unknown tokens are not remembered.
    pub const KSM_10_2: Self = middleware(10, 2);
    pub const KSM_10_6: Self = middleware(10, 6);
    /// memcache_sasl_enabled.
    pub const KSM_10_9: Self = middleware(10, 9);
    /// memcache_tls_enabled.
    pub const KSM_10_10: Self = middleware(10, 10);
    /// The last with auth_host and its kin.
    pub const KSM_12_0: Self = middleware(12, 0);
    /// auth_host to admin_password are gone; service_token_roles_required.
    pub const KSM_13_0: Self = middleware(13, 0);

    /// The release of the library that a Nova release was delivered with.
    ///
    /// `client` where the factory is keystoneclient's; `legacy` where the section says `auth_host`, `auth_uri` or
    /// another option that 13.0 does not know: what it meant in the last release that knew it, it means here.
    pub fn of(release: Release, client: bool, legacy: bool) -> Self {
        if client {
            return match release {
                Release::HAVANA => Self::CLIENT_0_4,
                Release::ICEHOUSE => Self::CLIENT_0_8,
                _ => Self::CLIENT_1_6,
            };
        }
        match release {
            // A file for an older Nova that names the newer library.
            Release::HAVANA | Release::ICEHOUSE | Release::JUNO => Self::KSM_1_0,
            Release::KILO => Self::KSM_1_5,
            Release::LIBERTY => Self::KSM_2_3,
            Release::MITAKA => Self::KSM_4_4,
            Release::NEWTON => Self::KSM_4_9,
            Release::OCATA => Self::KSM_4_14,
            Release::PIKE => Self::KSM_4_17,
            Release::QUEENS => Self::KSM_4_22,
            Release::ROCKY => Self::KSM_5_2,
            Release::STEIN => Self::KSM_6_0,
            Release::TRAIN => Self::KSM_7_0,
            Release::USSURI => Self::KSM_9_0,
            Release::VICTORIA => Self::KSM_9_1,
            Release::WALLABY => Self::KSM_9_2,
            Release::XENA => Self::KSM_9_3,
            Release::YOGA => Self::KSM_9_4,
            Release::ZED => Self::KSM_10_1,
            release if release < Release::NOVA_29 => Self::KSM_10_2,
            release if release < Release::NOVA_31 => Self::KSM_10_6,
            _ if legacy => Self::KSM_12_0,
            _ => Self::KSM_13_0,
        }
    }

    /// Whether it is keystoneclient's: options are raw text there, and Keystone's failures look like invalid tokens.
    pub fn is_client(self) -> bool {
        self.library == Library::Client
    }

    /// Whether it runs on Python 3, whose dictionaries keep their order.
    pub fn is_python3(self) -> bool {
        self >= Self::KSM_6_0
    }
}

/// `keystonemiddleware 4.22`
impl fmt::Display for Era {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let library = if self.is_client() { "python-keystoneclient" } else { "keystonemiddleware" };
        write!(f, "{library} {}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eras_are_ordered_by_time() {
        assert!(Era::CLIENT_1_6 < Era::KSM_1_0);
        assert!(Era::KSM_4_5 < Era::KSM_4_18 && Era::KSM_9_4 < Era::KSM_10_1);
        assert_eq!(Era::of(Release::HAVANA, true, true), Era::CLIENT_0_4);
        assert_eq!(Era::of(Release::NEWEST, false, false).to_string(), "keystonemiddleware 13.0");
    }

    #[test]
    fn old_options_keep_their_meaning_beyond_their_last_release() {
        assert!(Era::of(Release::NEWEST, false, true) < Era::KSM_13_0);
        assert_eq!(Era::of(Release::QUEENS, false, true), Era::KSM_4_22);
    }
}
