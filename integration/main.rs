//! End-to-end tests: one binary that drives the real executable on port 0 and in temporary directories.

mod admin;
mod cli;
mod config;
mod dashboards;
mod external;
mod faults;
mod health;
mod http;
mod layers;
mod listen;
mod paste;
mod pipelines;
mod python;
mod recordings;
mod recycling;
mod reload;
mod rollback;
mod samples;
mod selftest;
mod start;
mod stop;
mod support;
mod tls;
mod workers;
