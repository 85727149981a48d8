//! Writes the inputs that fuzzing starts from into `corpus/`, a folder for each target.

use std::path::Path;

use gateway_fuzz::pki;

fn main() -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let devices = pki::devices();
    for (target, seeds) in [
        ("identity", devices.clone()),
        ("crl", pki::lists()),
        ("headers", Vec::new()),
    ] {
        let folder = corpus.join(target);
        std::fs::create_dir_all(&folder)?;
        for (number, seed) in seeds.iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number}")), seed)?;
        }
        println!("{}: {} seeds", folder.display(), seeds.len());
    }
    Ok(())
}
