//! Fair-loss, stubborn and perfect links, in lanes.
