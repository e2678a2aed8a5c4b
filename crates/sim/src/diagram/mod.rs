//! Pictures of a trace: as text, as SVG, and as a log that ShiViz reads.
//!
//! All three show the requests and indications of the modules on top of the stack, the detectors'
//! indications, the copies between processes, and the faults. Events between modules of one process, and
//! heartbeats, are left out unless asked for.
mod choice;
mod layout;

mod shiviz;
mod story;
mod svg;
mod text;
mod xml;

pub use shiviz::ShiViz;
pub use svg::Svg;
pub use text::Diagram;

#[cfg(test)]
mod tests;
