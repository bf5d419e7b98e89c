//! Which of several servers has a key: as python-memcached chooses, so that entries are found where it left them.
//!
//! Must not know servers.

/// How many servers are tried for a key.
const TRIES: u8 = 10;

/// The upper half of CRC-32, without its sign bit.
fn hash(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    (crc.sum() >> 16) & 0x7fff
}

/// The numbers of the servers to try for a key, the first that is alive to be taken (`Client._get_server`).
pub(super) fn order(key: &[u8], servers: usize) -> impl Iterator<Item = usize> + use<> {
    let mut current = hash(key);
    (0..TRIES).filter_map(move |attempt| {
        let server = (current as usize).checked_rem(servers);
        current = hash(format!("{current}{attempt}").as_bytes());
        server
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `integration/memcached/vectors.py selection` with python-memcached 1.62.
    const VECTORS: &str = include_str!("../vectors/selection.json");

    #[test]
    fn servers_are_tried_in_the_order_of_python_memcached() {
        let vectors: Vec<serde_json::Value> = serde_json::from_str(VECTORS).unwrap();
        assert!(vectors.len() > 50);
        for vector in vectors {
            let tried: Vec<u64> = vector["tried"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect();
            let servers = vector["servers"].as_u64().unwrap() as usize;
            let ours: Vec<u64> = order(vector["key"].as_str().unwrap().as_bytes(), servers).map(|n| n as u64).collect();
            assert_eq!(ours, tried, "{vector}");
        }
        assert_eq!(order(b"key", 0).count(), 0);
    }
}
