//! How long events are kept: by age (`event_retention`), and by kind before that (`event_retention_kinds`).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Rules a setting may hold: each is a walk of its own over what is old.
pub const MAX_RULES: usize = 100;

/// How long something is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Keep {
    /// Not at all.
    Never,
    /// Until it is so old, by `created_at`.
    For(Duration),
    /// For ever.
    Always,
}

impl Keep {
    /// The lowest `created_at`, in unix seconds, that is kept at a time.
    fn bound(self, now: Duration) -> i64 {
        match self {
            Self::Never => i64::MAX,
            Self::For(age) => i64::try_from(now.saturating_sub(age).as_secs()).unwrap_or(0),
            Self::Always => 0,
        }
    }
}

/// Kinds of a rule, both ends inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rule {
    /// Lowest kind.
    pub first: u16,
    /// Highest kind.
    pub last: u16,
    /// How long they are kept.
    pub keep: Keep,
}

impl Rule {
    fn holds(&self, kind: u16) -> bool {
        (self.first..=self.last).contains(&kind)
    }
}

/// The rules in force. The first that holds a kind decides; without rules everything is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Retention(Vec<Rule>);

impl Retention {
    /// The rules of `kinds`, then `rest` for every other kind.
    pub fn new(mut kinds: Vec<Rule>, rest: Keep) -> Self {
        kinds.push(Rule { first: 0, last: u16::MAX, keep: rest });
        Self(kinds)
    }

    /// In their order.
    pub fn rules(&self) -> &[Rule] {
        &self.0
    }

    /// Whether an event may enter the archive, or would be taken out again.
    pub fn keeps(&self, kind: u16, created_at: i64) -> bool {
        let keep = self.0.iter().find(|rule| rule.holds(kind)).map_or(Keep::Always, |rule| rule.keep);
        // A time that no bound reaches is no reason to keep what is never kept.
        keep != Keep::Never && created_at >= keep.bound(now())
    }

    /// The lowest `created_at` that is kept of any kind, in unix seconds.
    pub fn oldest_kept(&self) -> i64 {
        let (now, mut oldest, mut kind) = (now(), i64::MAX, Some(0_u16));
        // From kind to kind at which another rule may begin to decide.
        while let Some(this) = kind {
            let decides = self.0.iter().position(|rule| rule.holds(this));
            oldest = oldest.min(decides.map_or(0, |place| self.0[place].keep.bound(now)));
            let end = decides.map_or(u16::MAX, |place| self.0[place].last);
            let earlier = &self.0[..decides.unwrap_or(self.0.len())];
            let next = earlier.iter().map(|rule| rule.first).filter(|first| *first > this).min();
            kind = end.checked_add(1).into_iter().chain(next).min();
        }
        oldest
    }

    /// The highest `created_at` that has expired of what a rule decides, in unix seconds; `None`: nothing ever does.
    pub fn expired_up_to(rule: &Rule) -> Option<i64> {
        match rule.keep {
            Keep::Never => Some(i64::MAX),
            Keep::For(_) => Some(rule.keep.bound(now()) - 1),
            Keep::Always => None,
        }
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Reads `kinds=age, …`: a kind or a range `first-last`, and an age with one of PostgreSQL's units (`s`, `min`, `h`, `d`;
/// seconds without one), `0` for not at all, or `forever`.
///
/// # Errors
/// What is wrong, for people.
pub fn parse_rules(text: &str) -> Result<Vec<Rule>, String> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let rules: Vec<Rule> = text.split(',').map(|item| parse_rule(item.trim())).collect::<Result<_, _>>()?;
    if rules.len() > MAX_RULES {
        return Err(format!("at most {MAX_RULES} rules are possible, there are {}", rules.len()));
    }
    Ok(rules)
}

fn parse_rule(item: &str) -> Result<Rule, String> {
    if item.is_empty() {
        return Err("there is an empty item between two commas".to_owned());
    }
    let (kinds, age) = item.split_once('=').ok_or_else(|| format!("{item} is not of the form kinds=age"))?;
    let kind = |text: &str| {
        let text = text.trim();
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| is_number).ok_or_else(|| format!("{text:?} is no kind (0 to 65535)"))
    };
    let (first, last) = kinds.split_once('-').unwrap_or((kinds, kinds));
    let (first, last) = (kind(first)?, kind(last)?);
    if first > last {
        return Err(format!("{} ends before it begins", kinds.trim()));
    }
    Ok(Rule { first, last, keep: parse_age(age.trim())? })
}

fn parse_age(text: &str) -> Result<Keep, String> {
    if text == "forever" {
        return Ok(Keep::Always);
    }
    let wrong = || format!("{text:?} is no age: a number with s, min, h or d, 0, or forever");
    let (number, unit) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let seconds = match unit.trim_start() {
        "" | "s" => 1,
        "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let seconds = number.checked_mul(seconds).filter(|seconds| *seconds <= i32::MAX.unsigned_abs().into());
    let seconds = seconds.ok_or_else(|| format!("{text} is longer than {} s", i32::MAX))?;
    Ok(if seconds == 0 { Keep::Never } else { Keep::For(Duration::from_secs(seconds)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn age(seconds: u64) -> Keep {
        Keep::For(Duration::from_secs(seconds))
    }

    fn ago(seconds: i64) -> i64 {
        i64::try_from(now().as_secs()).expect("before the end of time") - seconds
    }

    #[test]
    fn rules_are_read_with_all_units() {
        let rules = parse_rules(" 1059=30d, 20000-29999=0 ,7 = 90 min,0=2h,3=forever,4=5,5=6s").expect("rules");
        let keeps: Vec<Keep> = rules.iter().map(|rule| rule.keep).collect();
        let wanted = [age(30 * 86_400), Keep::Never, age(90 * 60), age(7200), Keep::Always, age(5), age(6)];
        assert_eq!(keeps, wanted);
        assert_eq!((rules[1].first, rules[1].last, rules[0].first, rules[0].last), (20_000, 29_999, 1059, 1059));
        assert_eq!(parse_rules("  "), Ok(Vec::new()));
    }

    #[test]
    fn what_is_no_rule_is_refused_with_a_reason() {
        for text in [
            ",",
            "1",
            "1=",
            "=1d",
            "1=1w",
            "1=d",
            "1=-1",
            "1=1.5h",
            "70000=1d",
            "-1=1d",
            "5-3=1d",
            "1-=1d",
            "1=1d,",
            "1=1d,,2=1d",
            "+1=1d",
            "1=99999999d",
            "1=99999999999999999999",
            "1=Forever",
            "1=1 d d",
            "a=1d",
            "1=1D",
            "1=0x1",
        ] {
            let reason = parse_rules(text).expect_err(text);
            assert!(reason.len() > 10, "{text}: {reason}");
        }
        let many = vec!["1=1d"; MAX_RULES + 1].join(",");
        assert!(parse_rules(&many).is_err());
    }

    #[test]
    fn the_first_rule_that_holds_the_kind_decides() {
        let rules = parse_rules("5=forever, 0-10=1h, 7=forever, 4=0").expect("rules");
        let retention = Retention::new(rules, age(86_400));
        for (kind, seconds, kept) in [
            (5, 1_000_000, true),
            (4, 1800, true),
            (4, 3700, false),
            (7, 3700, false),
            (11, 3700, true),
            (11, 90_000, false),
            (65_535, 90_000, false),
        ] {
            assert_eq!(retention.keeps(kind, ago(seconds)), kept, "kind {kind}, {seconds} s");
        }
        let never = Retention::new(parse_rules("1=0").expect("a rule"), Keep::Always);
        assert!(!never.keeps(1, i64::MAX) && !never.keeps(1, ago(-1000)) && never.keeps(2, 0));
        assert!(Retention::default().keeps(1, 0));
    }

    #[test]
    fn the_oldest_kept_is_that_of_the_kind_kept_longest() {
        let oldest = |text: &str, rest| Retention::new(parse_rules(text).expect("rules"), rest).oldest_kept();
        assert_eq!(oldest("", Keep::Always), 0);
        assert_eq!(oldest("1=1h", Keep::Always), 0);
        assert_eq!(Retention::default().oldest_kept(), 0);
        let near = |found: i64, seconds: i64| (found - ago(seconds)).abs() <= 2;
        assert!(near(oldest("", age(500)), 500));
        assert!(near(oldest("0=1h", age(500)), 3600));
        assert!(near(oldest("0-65535=1h", Keep::Always), 3600), "no kind is left for the rest");
        assert!(near(oldest("100-65535=10, 0-99=20", Keep::Always), 20));
        assert!(near(oldest("50-60=10, 40-65535=30, 0-39=20, 55=forever", Keep::Always), 30));
        assert_eq!(oldest("1-65535=10", Keep::Always), 0);
        assert_eq!(oldest("0-65534=10", Keep::Always), 0);
        assert_eq!(oldest("0-65535=0", Keep::Always), i64::MAX);
    }
}
