//! `image`: container images of nodes.

use std::{collections::BTreeMap, process::ExitCode};

use anyhow::Result;
use wire::{
    common::{ContainerDriver, ContainerdInstance, ContainerdNamespace},
    machine::{ImageServicePullProgress, image_service_pull_layer_progress::Status, image_service_pull_response::Response as Pulled},
};

use crate::client::{Client, next};

use super::{
    args::{Image, ImageNamespace, ImageStore, Insecure},
    nodes::{Fleet, each},
    report::{Cell, Report, bytes},
};

impl From<ImageStore> for ContainerdInstance {
    fn from(store: ImageStore) -> Self {
        let (driver, namespace) = match store.namespace {
            ImageNamespace::System => (ContainerDriver::Cri, ContainerdNamespace::NsSystem),
            ImageNamespace::Cri => (ContainerDriver::Cri, ContainerdNamespace::NsCri),
            ImageNamespace::Inmem => (ContainerDriver::Containerd, ContainerdNamespace::NsSystem),
        };
        Self { driver: driver.into(), namespace: namespace.into() }
    }
}

pub async fn run(fleet: &Fleet, command: Image) -> Result<ExitCode> {
    let nodes = fleet.nodes(&Insecure::default()).await?;
    match command {
        Image::List { store, output } => {
            let call = async |_, client: Client| {
                let mut stream = client.images(store.into()).await?;
                let mut images = Vec::new();
                while let Some(image) = next("ImageService/List", &mut stream).await? {
                    images.push(image);
                }
                Ok(images)
            };
            let (replies, code) = each(nodes, call).await;
            let mut report = Report::new(&["NODE", "IMAGE", "DIGEST", "SIZE", "CREATED"]);
            for (node, images) in replies {
                for image in images {
                    let size = Cell::shown(image.size, bytes(image.size.unsigned_abs()));
                    let created = super::show::time(image.created_at.as_ref());
                    report.row([node.clone().into(), image.name.into(), image.digest.into(), size, created.into()]);
                }
            }
            report.print(output.output)?;
            Ok(code)
        }
        Image::Pull { image, store } => {
            let call = async |node: String, client: Client| pull(&node, &client, store, &image).await;
            let (replies, code) = each(nodes, call).await;
            for (node, name) in replies {
                println!("{node}: {name}");
            }
            Ok(code)
        }
        Image::Remove { image, store } => {
            let (done, code) = each(nodes, async |_, client: Client| Ok(client.remove_image(store.into(), &image).await?)).await;
            for (node, ()) in done {
                eprintln!("{node}: {image} was removed");
            }
            Ok(code)
        }
    }
}

/// Pulls and shows each layer as it gets on; the name that the node gave the image.
async fn pull(node: &str, client: &Client, store: ImageStore, image: &str) -> Result<String> {
    let mut stream = client.pull_image(store.into(), image).await?;
    let mut layers = BTreeMap::new();
    let mut name = image.to_owned();
    while let Some(answer) = next("ImageService/Pull", &mut stream).await? {
        match answer.response {
            Some(Pulled::Name(resolved)) => name = resolved,
            Some(Pulled::PullProgress(progress)) => {
                if let Some(line) = step(&mut layers, &progress) {
                    eprintln!("{node}: {line}");
                }
            }
            None => {}
        }
    }
    Ok(name)
}

/// What is worth a line: a layer that is at its next step.
fn step(layers: &mut BTreeMap<String, i32>, progress: &ImageServicePullProgress) -> Option<String> {
    let layer = progress.progress?;
    if layers.insert(progress.layer_id.clone(), layer.status) == Some(layer.status) {
        return None;
    }
    let what = match layer.status() {
        Status::Downloading => format!("downloading {}", bytes(layer.total.unsigned_abs())),
        Status::DownloadComplete => "downloaded".to_owned(),
        Status::Extracting => "unpacking".to_owned(),
        Status::ExtractComplete => "unpacked".to_owned(),
        Status::AlreadyExists => "is there already".to_owned(),
    };
    Some(format!("layer {}: {what}", progress.layer_id))
}

#[cfg(test)]
mod tests {
    use wire::machine::ImageServicePullLayerProgress;

    use super::*;

    #[test]
    fn a_layer_gets_a_line_a_step() {
        let mut layers = BTreeMap::new();
        let mut said = |layer_id: &str, status: Status, offset| {
            let progress = ImageServicePullLayerProgress { status: status.into(), offset, total: 2048, ..Default::default() };
            step(&mut layers, &ImageServicePullProgress { layer_id: layer_id.into(), progress: Some(progress) })
        };
        assert_eq!(said("a", Status::Downloading, 0).as_deref(), Some("layer a: downloading 2 KiB"));
        assert_eq!(said("a", Status::Downloading, 1024), None);
        assert_eq!(said("b", Status::AlreadyExists, 0).as_deref(), Some("layer b: is there already"));
        assert_eq!(said("a", Status::DownloadComplete, 2048).as_deref(), Some("layer a: downloaded"));
        assert_eq!(step(&mut BTreeMap::new(), &ImageServicePullProgress::default()), None);
    }
}
