//! The tickets of servers that share a store: the place of a ClientHello in the order of all that
//! came to any of them (PROTOCOL 4.25). Pure.
//!
//! A ticket begins with how many writes the store had seen once the ClientHello had come. A claim
//! is a write, and holds its connection's ticket: so every ClientHello that comes after a claim
//! has a higher one, at whichever server. Behind it a server counts those between two writes: of
//! its own connections none have the same ticket.

/// For so many ClientHellos between two writes, a million. Those past them have the same ticket: it
/// must not grow into the next one's, or whoever sends many could make a handshake younger.
const COUNT_BITS: u32 = 20;
const MOST_COUNTED: u64 = (1 << COUNT_BITS) - 1;
/// More than a store sees: a thousand in a second, for 250 years.
const MOST_WRITES: u64 = (1 << 43) - 1;

/// A server's ticket after its `last` one, where the store has seen so many writes.
pub fn next_ticket(last: u64, writes: u64) -> u64 {
    let first = writes.min(MOST_WRITES) << COUNT_BITS;
    let counts = last & MOST_COUNTED < MOST_COUNTED;
    first.max(last + u64::from(counts))
}

/// Whether the claim of a connection with this ticket is too late, since one `by` that ticket
/// stands in the record. Between two of the same time nobody knows which client's is newer: the
/// claim that stands goes before, and the client of the other dials again, with a higher one. So
/// it does not matter which server counts how far.
pub(super) fn is_overtaken(clienthello: u64, by: u64) -> bool {
    by >> COUNT_BITS >= clienthello >> COUNT_BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_tickets_rise_and_follow_the_writes() {
        let mut last = 0;
        for writes in [0, 0, 1, 1, 1, 4, 3] {
            let next = next_ticket(last, writes);
            assert!(next > last && next >> COUNT_BITS >= writes, "{writes}");
            last = next;
        }
        assert_eq!(last >> COUNT_BITS, 4);
    }

    /// Else a server that strangers come to would count beyond all others, and what is held back
    /// there would pass for newer than what came to another.
    #[test]
    fn a_crowd_does_not_make_a_ticket_younger() {
        let last = next_ticket(0, 3) + MOST_COUNTED - 1;
        let most = next_ticket(last, 3);
        assert_eq!(most, last + 1);
        assert_eq!(next_ticket(most, 3), most);
        assert!(is_overtaken(most, next_ticket(0, 3)));
        assert!(next_ticket(most, 4) > most);
    }

    #[test]
    fn no_number_is_too_large() {
        let most = next_ticket(0, u64::MAX);
        assert!(next_ticket(most, u64::MAX) > most);
        assert_eq!(next_ticket(u64::MAX, 0), u64::MAX);
    }
}
