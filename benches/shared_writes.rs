//! Prints the atomic writes per call: `cargo bench -p buttress-benches --bench shared_writes`.

use buttress_benches::{cases, print_shared_writes, run_requested_case};

fn main() {
    let cases = cases();
    if !run_requested_case(&cases) {
        print_shared_writes(&cases);
    }
}
