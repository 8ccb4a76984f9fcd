//! The migrations are embedded; cargo must know that they are sources too.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations");
}
