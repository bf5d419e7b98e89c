# What .ci/run runs, one recipe each. `just` alone lists them.

default:
    @just --list --unsorted

# Type-checks everything, tests and benches too.
check:
    cargo check --all-targets --locked

# Formats; CI only looks.
fmt:
    cargo fmt

# Lints, warnings denied.
clippy:
    cargo clippy --all-targets --locked -- -D warnings

# Documentation, private items too, warnings denied: broken links are errors.
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked --document-private-items

# Unit and end-to-end tests; `just test reload` runs those with that word in their names.
test *ARGS:
    cargo test --locked --no-fail-fast -- {{ARGS}}

# Licences, advisories, sources, banned crates (needs cargo-deny).
deny:
    cargo deny --locked check

# Pasteway, nginx and HAProxy side by side (needs both, and two quiet processors); figures, no verdict.
bench *ARGS:
    cargo bench --locked --bench compare -- {{ARGS}}

# A real Nova behind Pasteway, gunicorn, uWSGI and eventlet side by side (needs pip and wrk); figures, no verdict.
bench-nova *ARGS:
    sh integration/bench/nova/run {{ARGS}}

# The storm of reloads under load, with the optimised program, `n` times over.
soak n="10":
    cargo test --release --locked --test integration --no-run
    for i in $(seq {{n}}); do cargo test --release --locked --test integration -- --nocapture storm || exit 1; done

# The chaos tests with another seed, `n` times as long: killed, frozen, starved; PASTEWAY_SEED repeats a run (needs root).
chaos n="3":
    PROPTEST_CASES=10000 cargo test --locked --lib storm
    PASTEWAY_CI=1 PASTEWAY_CHAOS={{n}} cargo test --locked --test integration -- --nocapture chaos

# Swap, lease, ejection and drain in random orders of their threads (shuttle), by the program's own files.
model:
    sh integration/model/run

# A million requests and a thousand reloads of every sort, with the optimised program; `just selftest --seconds 40`: fewer.
selftest *ARGS="--rate 4200 --reloads 1000 --seconds 240":
    cargo run --release --locked -- selftest reload {{ARGS}}

# authtoken against a real Keystone and beside the real keystonemiddleware (needs pip).
keystone:
    sh integration/keystone/run

# The same requests to two Novas, their answers compared (needs pip).
nova:
    sh integration/nova/run

# CKAN under gunicorn and behind Pasteway, the same requests to both (needs apt and pip); CKAN_VERSION: another one.
ckan:
    sh integration/ckan/run

# The units of etc/systemd under a real systemd, in a container that debootstrap makes (needs root).
systemd *SUITES="bookworm trixie":
    sh integration/systemd/run {{SUITES}}

# All of what CI runs, as it runs it.
ci:
    .ci/run
