//! The picture.
use std::error::Error;
use std::path::Path;

use crate::measure::Run;

pub(crate) fn draw(_file: &Path, _runs: &[Run]) -> Result<(), Box<dyn Error>> {
    Ok(())
}
