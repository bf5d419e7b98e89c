//! Limits as the section's options write them: `(VERB, URI, REGEX, VALUE, UNIT);...`.
//!
//! Must not know who has used up how much of a limit.

use super::pattern::Pattern;

/// A limit: so many requests of one kind in a time.
pub struct Rule {
    /// The method.
    pub verb: Box<str>,
    /// What the URL, from `http://` on, must begin with.
    pub pattern: Pattern,
    /// How many.
    pub value: u64,
    /// In what time.
    pub unit: Unit,
    /// What is said to one who goes over it.
    pub message: Box<str>,
    /// As JSON for the app's `GET /limits`, up to the value of `remaining`. The URI is for people (`*/servers`), the
    /// expression as it was written.
    pub shown: Box<str>,
}

/// A unit of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Second,
    Minute,
    Hour,
    Day,
}

impl Unit {
    /// Its upper-case name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Second => "SECOND",
            Self::Minute => "MINUTE",
            Self::Hour => "HOUR",
            Self::Day => "DAY",
        }
    }

    /// A day has 84400 seconds in `nova/utils.py`.
    pub const fn seconds(self) -> f64 {
        match self {
            Self::Second => 1.0,
            Self::Minute => 60.0,
            Self::Hour => 3600.0,
            Self::Day => 84400.0,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Second, Self::Minute, Self::Hour, Self::Day]
            .into_iter()
            .find(|unit| text.eq_ignore_ascii_case(unit.name()))
    }
}

/// Why a text is no list of limits.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRules {
    /// The original does not start with it either; in its words.
    #[error("{0}")]
    Wrong(String),
    /// Only Python understands it.
    #[error("{0}")]
    Foreign(String),
}

/// The limits of an option, in their order. Neither a comma nor a semicolon can be a part of anything.
///
/// # Errors
/// [`BadRules`] of the first that is none.
pub fn parse(text: &str) -> Result<Vec<Rule>, BadRules> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(Vec::new());
    }
    text.split(';').map(|group| rule(group.trim())).collect()
}

fn rule(group: &str) -> Result<Rule, BadRules> {
    let wrong = |text: &str| BadRules::Wrong(text.to_owned());
    // A lone parenthesis is the first and the last character of its text.
    let inner = match group {
        "(" | ")" => None,
        _ => group.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')),
    };
    let inner = inner.ok_or_else(|| wrong("Limit rules must be surrounded by parentheses"))?;
    let args: Vec<_> = inner.split(',').map(str::trim).collect();
    let [verb, uri, regex, value, unit] = args.as_slice() else {
        return Err(wrong("Limit rules must contain the following arguments: verb, uri, regex, value, unit"));
    };
    let value = number(value)?;
    let unit = Unit::parse(unit).ok_or_else(|| wrong("Invalid units specified"))?;
    if value == 0 {
        return Err(wrong("Limit value must be > 0"));
    }
    let pattern = Pattern::new(regex)
        .map_err(|why| BadRules::Foreign(format!("the expression `{regex}` is for Python to read: {why}")))?;
    Ok(make(&verb.to_ascii_uppercase(), uri, regex, pattern, value, unit))
}

/// Python's `int`, with 0 for all that is not above it.
fn number(text: &str) -> Result<u64, BadRules> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BadRules::Wrong(format!("invalid literal for int() with base 10: '{text}'")));
    }
    if text.starts_with('-') {
        return Ok(0);
    }
    digits.parse().map_err(|_| BadRules::Foreign(format!("{text} is a number for Python")))
}

fn make(verb: &str, uri: &str, regex: &str, pattern: Pattern, value: u64, unit: Unit) -> Rule {
    let every = unit.name().to_ascii_lowercase();
    let message = format!("Only {value} {verb} request(s) can be made to {uri} every {every}.");
    let json = |text: &str| serde_json::Value::from(text).to_string();
    let shown = format!(
        r#"{{"verb":{},"URI":{},"regex":{},"value":{value},"unit":"{}","remaining":"#,
        json(verb),
        json(uri),
        json(regex),
        unit.name()
    );
    Rule { verb: verb.into(), pattern, value, unit, message: message.into(), shown: shown.into() }
}

/// The limits where the options name none, of v2 and of Havana's v3.
///
/// `^/servers` and `^/os-fping` match nothing, since a URL begins with its scheme; the originals have them all the same.
pub fn defaults(is_v3: bool) -> Vec<Rule> {
    let text = if is_v3 {
        "(POST, *, .*, 10, MINUTE); (POST, */servers, ^/servers, 50, DAY); (PUT, *, .*, 10, MINUTE); \
         (GET, *changes_since*, .*changes_since.*, 3, MINUTE); (DELETE, *, .*, 100, MINUTE)"
    } else {
        "(POST, *, .*, 120, MINUTE); (POST, */servers, ^/servers, 120, MINUTE); (PUT, *, .*, 120, MINUTE); \
         (GET, *changes-since*, .*changes-since.*, 120, MINUTE); (DELETE, *, .*, 120, MINUTE); \
         (GET, */os-fping, ^/os-fping, 12, MINUTE)"
    };
    // They parse, as a test shows.
    parse(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(rules: &[Rule]) -> Vec<String> {
        let one = |rule: &Rule| {
            let told: serde_json::Value = serde_json::from_str(&format!("{}0}}", rule.shown)).expect("JSON");
            assert_eq!((told["verb"].as_str(), told["value"].as_u64()), (Some(&*rule.verb), Some(rule.value)));
            assert_eq!(told["unit"], rule.unit.name());
            let text = |key: &str| told[key].as_str().map(str::to_owned).expect("a text");
            format!("{} {} {} {} {}", rule.verb, text("URI"), text("regex"), rule.value, rule.unit.name())
        };
        rules.iter().map(one).collect()
    }

    #[test]
    fn the_defaults_are_the_originals() {
        assert_eq!(
            shown(&defaults(false)),
            [
                "POST * .* 120 MINUTE",
                "POST */servers ^/servers 120 MINUTE",
                "PUT * .* 120 MINUTE",
                "GET *changes-since* .*changes-since.* 120 MINUTE",
                "DELETE * .* 120 MINUTE",
                "GET */os-fping ^/os-fping 12 MINUTE",
            ]
        );
        assert_eq!(defaults(true).len(), 5);
        assert_eq!(Unit::Day.seconds(), 84400.0);
    }

    #[test]
    fn verbs_and_units_may_have_any_case_and_blanks_go() {
        let rules = parse(" ( get , */x , .*x , 3 , Second ) ; (POST,*,.*,+2,dAy)").unwrap();
        assert_eq!(shown(&rules), ["GET */x .*x 3 SECOND", "POST * .* 2 DAY"]);
        assert_eq!(&*rules[0].message, "Only 3 GET request(s) can be made to */x every second.");
        assert!(parse("  ").unwrap().is_empty());
    }

    #[test]
    fn mistakes_are_told_in_the_originals_words() {
        let told = |text| parse(text).err().unwrap().to_string();
        let parentheses = "Limit rules must be surrounded by parentheses";
        for text in ["GET,*,.*,1,DAY", "(GET,*,.*,1,DAY);", "(", "()x", "(GET,*,a;b,1,DAY)"] {
            assert_eq!(told(text), parentheses, "{text}");
        }
        let arguments = "Limit rules must contain the following arguments: verb, uri, regex, value, unit";
        assert_eq!(told("()"), arguments);
        assert_eq!(told("(GET,*,a{1,2},1,DAY)"), arguments);
        assert_eq!(told("(GET,*,.*,1,WEEK)"), "Invalid units specified");
        assert_eq!(told("(GET,*,.*,0,DAY)"), "Limit value must be > 0");
        assert_eq!(told("(GET,*,.*,-1,DAY)"), "Limit value must be > 0");
        // The value is read before the unit, and judged after it.
        assert_eq!(told("(GET,*,.*,0,WEEK)"), "Invalid units specified");
        assert_eq!(told("(GET,*,.*,x,WEEK)"), "invalid literal for int() with base 10: 'x'");
        assert!(matches!(parse("(GET,*,(,1,DAY)"), Err(BadRules::Foreign(_))));
    }
}
