//! Sightings: which events a relay was seen to hold, as sets of archive positions in leaves.
