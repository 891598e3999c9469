//! What one side was told, and showed, over all of its lives; and the promises.
//!
//! Everything here stood in whole lines that this test has read.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::side::{Who, words};

/// Which conversation, and which turn of it. A plain pipe has one conversation in
/// each life, and it has no name.
type Place = (String, u64);

pub(super) struct Diary {
    who: Who,
    /// The conversation that its program is in.
    pub(super) open: Option<String>,
    /// The one before, else.
    last: String,
    /// Those it was connected with.
    connected: BTreeSet<String>,
    /// And those whose end it was told.
    over: BTreeSet<String>,
    /// How many messages were entered.
    count: u64,
    /// What was entered last for a turn, and all that was.
    entered: BTreeMap<Place, String>,
    all_entered: BTreeSet<String>,
    /// What it told to be said, and in which life.
    said: BTreeMap<Place, (String, u32)>,
    /// What it was told the other has.
    acknowledged: BTreeSet<Place>,
    /// What it was told may be lost.
    named: BTreeSet<Place>,
    /// What it showed of the other's.
    shown: BTreeMap<Place, String>,
    /// And again, without saying of which conversation.
    reminded: BTreeSet<String>,
    /// Lives that remember nothing, and could tell nothing at their end.
    pub(super) forgotten: BTreeSet<u32>,
}

impl Diary {
    pub(super) fn new(who: Who) -> Self {
        Self {
            who,
            open: None,
            last: String::new(),
            connected: BTreeSet::new(),
            over: BTreeSet::new(),
            count: 0,
            entered: BTreeMap::new(),
            all_entered: BTreeSet::new(),
            said: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            named: BTreeSet::new(),
            shown: BTreeMap::new(),
            reminded: BTreeSet::new(),
            forgotten: BTreeSet::new(),
        }
    }

    /// How many messages of the other's it showed.
    pub(super) fn shown(&self) -> u64 {
        self.shown.len() as u64
    }

    /// Whether it knows how each of its conversations ended.
    pub(super) fn is_settled(&self) -> bool {
        self.connected.is_subset(&self.over)
    }

    /// Words for a turn, that were never said before; one in four fills a pipe.
    pub(super) fn compose(&mut self, conversation: &str, turn: u64, life: u32) -> String {
        self.count += 1;
        let mut text = format!("{}, message {}", words(self.who, turn), self.count);
        if (turn / 2 + u64::from(life)).is_multiple_of(4) {
            text.push(' ');
            text.extend(std::iter::repeat_n('x', 65_536 - text.len()));
        }
        self.all_entered.insert(text.clone());
        self.entered
            .insert((conversation.to_owned(), turn), text.clone());
        text
    }

    /// A life begins; without `--json` its conversation has this name.
    pub(super) fn begin(&mut self, life: u32, is_json: bool) {
        self.open = None;
        if !is_json {
            self.last = plain(life);
        }
    }

    /// A line of stdout.
    pub(super) fn line(&mut self, line: &str, life: u32, is_json: bool) -> Option<Value> {
        if is_json {
            let event = serde_json::from_str(line).unwrap();
            self.event(&event, life);
            return Some(event);
        }
        let conversation = plain(life);
        if let Some(text) = line.strip_prefix("They say: ") {
            let next = next(&self.shown, &conversation, self.who.other());
            self.show(conversation, next, text, false);
        } else if let Some(text) = line.strip_prefix("Your message: ") {
            let next = next(&self.said, &conversation, self.who);
            self.say(conversation, next, text, life);
        } else {
            panic!("{:?} shows {line:?}", self.who);
        }
        None
    }

    fn event(&mut self, event: &Value, life: u32) {
        let turn = event["turn"].as_u64().unwrap_or(0);
        let conversation = event["conversation"].as_str().map(ToOwned::to_owned);
        let of = || conversation.clone().unwrap();
        match event["event"].as_str().unwrap() {
            "connected" => {
                self.connected.insert(of());
                self.last = of();
                self.open = conversation;
            }
            "turn" => {
                let text = event["text"].as_str().unwrap();
                let is_again = event["again"] == true;
                match event["speaker"] == "me" {
                    true => self.say(of(), turn, text, life),
                    // Its conversation was over before this life.
                    false if is_again && conversation.is_none() => {
                        self.reminded.insert(text.to_owned());
                    }
                    false => self.show(of(), turn, text, is_again),
                }
            }
            "delivered" => drop(self.acknowledged.insert((of(), turn))),
            "ended" => {
                self.open = None;
                if let Some(conversation) = conversation {
                    self.over(conversation, &event["unacknowledged"]);
                }
            }
            "error" => {
                if self.open.is_none()
                    && let Some(conversation) = &conversation
                {
                    let untaken = &event["untaken"];
                    if let Some(text) = untaken["text"].as_str() {
                        let turn = untaken["turn"].as_u64().unwrap();
                        self.show(conversation.clone(), turn, text, true);
                    }
                    self.over(conversation.clone(), &event["unacknowledged"]);
                }
                self.aside(event["what"].as_str().unwrap());
            }
            _ => {}
        }
    }

    fn over(&mut self, conversation: String, unacknowledged: &Value) {
        match unacknowledged["turn"].as_u64() {
            Some(turn) => {
                let text = unacknowledged["text"].as_str().unwrap();
                assert!(self.all_entered.contains(text), "{text:.40} was not said");
                self.named.insert(place(&conversation, turn));
            }
            None => self.whole(&conversation),
        }
        self.over.insert(conversation);
    }

    /// It has ended, and nothing of it was named.
    fn whole(&mut self, conversation: &str) {
        let said = self.said.keys().filter(|(name, _)| name == conversation);
        self.acknowledged.extend(said.cloned());
    }

    /// A line of stderr, or what an error says.
    pub(super) fn aside(&mut self, line: &str) {
        let number = |before: &str, behind: &str| {
            let (_, rest) = line.split_once(before)?;
            let (number, _) = rest.split_once(behind)?;
            number.parse::<u64>().ok()
        };
        let open = self.open.as_ref().unwrap_or(&self.last).clone();
        if let Some(turn) = number("essage of turn ", " in it was not acknowledged")
            .or_else(|| number("essage of turn ", " was not acknowledged"))
        {
            self.named.insert((open, turn));
        } else if let Some(turn) = number("Turn ", " is delivered") {
            self.acknowledged.insert((open, turn));
        } else if line.contains("Connected with ") && self.open.is_none() {
            self.open = Some(open);
        }
    }

    /// A life is over, with this exit code.
    pub(super) fn end(&mut self, life: u32, code: Option<i32>, is_json: bool) {
        self.open = None;
        if code == Some(0) && !is_json {
            self.whole(&plain(life));
        }
    }

    fn say(&mut self, conversation: String, turn: u64, text: &str, life: u32) {
        assert!(self.all_entered.contains(text), "{text:.40} was not said");
        let place = (conversation, turn);
        self.entered.insert(place.clone(), text.to_owned());
        let before = self.said.insert(place, (text.to_owned(), life));
        assert!(before.is_none(), "{:?} says turn {turn} twice", self.who);
    }

    fn show(&mut self, conversation: String, turn: u64, text: &str, is_again: bool) {
        let next = next(&self.shown, &conversation, self.who.other());
        if is_again && turn + 2 == next {
            assert_eq!(self.shown[&place(&conversation, turn)], text);
            return;
        }
        assert_eq!(turn, next, "{:?} is shown: {text:.40}", self.who);
        // An answer acknowledges what it answers.
        if turn > 1 {
            self.acknowledged.insert(place(&conversation, turn - 1));
        }
        self.shown.insert((conversation, turn), text.to_owned());
    }

    /// What this side said to `other`, now that all is over.
    pub(super) fn check(&self, other: &Self) {
        let shown: BTreeSet<_> = other.shown.values().chain(&other.reminded).collect();
        let is_shown =
            |place: &Place, text| other.shown.contains_key(place) || shown.contains(text);
        let who = self.who;
        for place in &self.acknowledged {
            let is_true = is_shown(place, &self.entered[place]);
            assert!(is_true, "{who:?} was told of {place:?}: delivered");
        }
        for (place, (text, life)) in &self.said {
            let is_known = is_shown(place, text) || self.named.contains(place);
            assert!(
                is_known || self.forgotten.contains(life),
                "{who:?} does not know that {place:?} is lost"
            );
        }
        for text in &other.reminded {
            assert!(self.all_entered.contains(text), "nobody said {text:.60}");
        }
        for (place, text) in &other.shown {
            assert!(self.all_entered.contains(text), "nobody said {text:.60}");
            let turn = words(self.who, place.1);
            assert!(
                text.starts_with(&format!("{turn},")),
                "{place:?}: {text:.60}"
            );
            if let Some((said, _)) = self.said.get(place) {
                assert_eq!(said, text);
            }
        }
    }
}

/// The turn of this speaker's behind those of a conversation.
fn next<T>(turns: &BTreeMap<Place, T>, conversation: &str, speaker: Who) -> u64 {
    let all = place(conversation, 0)..=place(conversation, u64::MAX);
    let first = if speaker == Who::Server { 1 } else { 2 };
    let last = turns.range(all).next_back();
    last.map_or(first, |((_, turn), _)| turn + 2)
}

fn place(conversation: &str, turn: u64) -> Place {
    (conversation.to_owned(), turn)
}

pub(super) fn plain(life: u32) -> String {
    format!("life {life}")
}
