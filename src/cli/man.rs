//! `man`: the manual page, made from the definitions of the command line, the table of options and the registry of
//! filters, so that it cannot say anything else than they do.
//!
//! Must not know what any option does beyond its own words.

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use super::Line;
use crate::command::Class;
use crate::config::options::{self, Opt};
use crate::filter::registry::FACTORIES;
use crate::release::Release;

const EXIT: [(&str, &str); 5] = [
    ("0", "all is well; for serve: an ordered stop"),
    ("1", "it failed while running, or no front answered"),
    ("2", "the command line is wrong"),
    ("78", "the configuration cannot be loaded, or a reload was rejected"),
    ("nova-api", "under a name of Nova's: the statuses of the original"),
];

/// The page, in roff.
pub fn page() -> String {
    let mut command = Line::command();
    command.build();
    let mut page = Vec::new();
    // Writing to memory cannot fail.
    let _ = sections(&command, &mut page);
    String::from_utf8_lossy(&page).into_owned()
}

fn sections(command: &Command, page: &mut Vec<u8>) -> std::io::Result<()> {
    let man = Man::new(command.clone());
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    man.render_description_section(page)?;
    man.render_options_section(page)?;
    commands(command).to_writer(page)?;
    configuration().to_writer(page)?;
    filters().to_writer(page)?;
    exit_statuses().to_writer(page)?;
    man.render_version_section(page)
}

/// Every command with its arguments.
fn commands(command: &Command) -> Roff {
    let mut roff = section("COMMANDS");
    for command in command.get_subcommands() {
        let usage = command.clone().render_usage().to_string();
        roff.control("SS", [command.get_name()]);
        roff.text([roman(usage.replace("Usage: ", ""))]);
        roff.control("PP", []);
        roff.text([roman(command.get_about().map(ToString::to_string).unwrap_or_default())]);
        for argument in command.get_arguments().filter(|arg| !arg.is_global_set() && arg.get_id() != "help") {
            let mut name = argument.get_long().map_or_else(String::new, |long| format!("--{long}"));
            let takes = argument.get_action().takes_values();
            let value = argument.get_value_names().unwrap_or_default().join(" ");
            if name.is_empty() || takes {
                name = format!("{name} {value}").trim().to_owned();
            }
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            let words: Vec<_> =
                argument.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
            let words = if takes && !words.is_empty() { format!(" [{}]", words.join(", ")) } else { String::new() };
            item(&mut roff, [bold(name)], help + &words);
        }
    }
    roff
}

/// Every option of nova.conf and pasteway.conf that is read.
fn configuration() -> Roff {
    let mut roff = section("CONFIGURATION");
    let text = "Options that Pasteway reads in nova.conf and its kin. Each says whether a change of it is live (a \
                pointer is stored), rolling (new workers are started beside the old), or rebind (a listener appears, \
                moves or goes); none needs a restart. Defaults are those of the newest Nova; where an older one had \
                another, it follows with the release from which on it held.";
    roff.text([roman(text)]);
    let mut groups: Vec<&str> = options::all().map(|opt| opt.group).collect();
    groups.sort_by_key(|group| (*group != "DEFAULT", *group != "pasteway", *group));
    groups.dedup();
    for group in groups {
        roff.control("SS", [format!("[{group}]").as_str()]);
        for opt in options::all().filter(|opt| opt.group == group) {
            let kind = opt.kind(Release::NEWEST).to_string();
            item(&mut roff, [bold(opt.name), roman(" ("), italic(kind), roman(")")], about(opt));
        }
    }
    roff
}

/// Help, defaults, older names, and what a change takes.
fn about(opt: &Opt) -> String {
    let mut text = opt.help.trim().to_owned();
    match opt.default(Release::NEWEST) {
        Some(default) => text += &format!(" Default: {}.", quoted(default)),
        None => text += " No default.",
    }
    if let [older @ .., _] = opt.defaults {
        for (since, default) in older {
            text += &format!(" From release {since}: {}.", quoted(default));
        }
    }
    for (group, name) in opt.deprecated {
        text += &format!(" Older name: {name} of [{group}].");
    }
    if let Some(gone) = opt.gone {
        text += &format!(" Gone since release {gone}.");
    }
    text + match opt.change {
        Class::Live => " Change: live.",
        Class::Rolling => " Change: rolling.",
        Class::Rebind => " Change: rebind.",
    }
}

fn quoted(default: &str) -> String {
    if default.is_empty() { "empty".to_owned() } else { format!("`{default}`") }
}

/// Every native filter with the options of its section.
fn filters() -> Roff {
    let mut roff = section("FILTERS");
    roff.text([roman(
        "Filters and apps that the front runs by itself, by any of the factory names below. Options stand \
                      in the section of the Paste file; with a group, in nova.conf too.",
    )]);
    for factory in FACTORIES {
        roff.control("SS", [factory.name]);
        roff.text([italic(factory.aliases.join(", "))]);
        roff.control("PP", []);
        roff.text([roman(format!("It {}. {}.", factory.about, factory.eras))]);
        for spec in factory.options {
            let group = if spec.group.is_empty() { String::new() } else { format!(" [{}]", spec.group) };
            let default =
                if spec.default.is_empty() { String::new() } else { format!(" Default: `{}`.", spec.default) };
            item(&mut roff, [bold(spec.name), roman(group)], format!("{}.{default}", spec.help));
        }
    }
    roff
}

fn exit_statuses() -> Roff {
    let mut roff = section("EXIT STATUS");
    for (status, meaning) in EXIT {
        item(&mut roff, [bold(status)], meaning.to_owned());
    }
    roff
}

fn section(title: &str) -> Roff {
    let mut roff = Roff::default();
    roff.control("SH", [title]);
    roff
}

fn item<const N: usize>(roff: &mut Roff, name: [Inline; N], text: String) {
    roff.control("TP", []);
    roff.text(name);
    roff.text([roman(text)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_option_and_filter_is_in_the_manual() {
        // Roff writes hyphens and leading dots in its own way.
        let page = page().replace("\\-", "-").replace("\\&", "");
        for opt in options::all() {
            assert!(page.contains(opt.name), "{}", opt.name);
        }
        for command in Line::command().get_subcommands() {
            assert!(page.contains(command.get_name()), "{}", command.get_name());
        }
        for factory in FACTORIES {
            assert!(page.contains(factory.name) && factory.options.iter().all(|spec| page.contains(spec.name)));
        }
        assert!(page.contains("Change: rebind.") && page.contains("--dialect"));
    }
}
