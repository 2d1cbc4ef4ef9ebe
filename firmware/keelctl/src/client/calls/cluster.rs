//! Calls about the cluster: its start, etcd, Kubernetes, images, client certificates.

use std::time::Duration;

use futures_util::Stream;
use tonic::Streaming;
use wire::{
    cluster::{ClusterInfo, HealthCheckProgress, HealthCheckRequest},
    common::{ContainerdInstance, Data},
    machine::{
        BootstrapRequest, EtcdAlarm, EtcdAlarmDisarm, EtcdDowngradeEnableRequest, EtcdDowngradeValidateRequest,
        EtcdForfeitLeadershipRequest, EtcdLeaveClusterRequest, EtcdMember, EtcdMemberListRequest, EtcdRemoveMemberByIdRequest,
        EtcdSnapshotRequest, EtcdStatus, GenerateClientConfiguration, GenerateClientConfigurationRequest, ImageServiceListRequest,
        ImageServiceListResponse, ImageServicePullRequest, ImageServicePullResponse, ImageServiceRemoveRequest, RollbackRequest,
    },
};

use super::{Client, ClientError, done, single};

/// A call whose reply says only that it was done.
macro_rules! plain {
    ($self:ident.$service:ident.$call:ident($request:expr), $method:literal) => {{
        let reply = done($method, $self.$service().$call($request).await)?;
        single($method, reply.messages, |message| message.metadata.as_ref())
    }};
}

unary! {
    /// Alarms of etcd's members.
    etcd_alarms, machine.etcd_alarm_list, "EtcdAlarmList", EtcdAlarm, |m| m;
    /// Ends the alarms of etcd's members.
    etcd_disarm, machine.etcd_alarm_disarm, "EtcdAlarmDisarm", EtcdAlarmDisarm, |m| m;
    /// State of the node's member of etcd.
    etcd_status, machine.etcd_status, "EtcdStatus", EtcdStatus, |m| m;
    /// Gives room in the member's database back. Takes long for a large one.
    etcd_defragment, machine.etcd_defragment, "EtcdDefragment", (), |_m| ();
    /// Ends a downgrade of etcd; the cluster's version.
    etcd_downgrade_cancel, machine.etcd_downgrade_cancel, "EtcdDowngradeCancel", String,
        |m| m.cluster_downgrade.unwrap_or_default().cluster_version;
}

impl Client {
    /// Has the node start etcd as the first of its cluster.
    pub async fn bootstrap(&self, request: BootstrapRequest) -> Result<(), ClientError> {
        plain!(self.machine.bootstrap(request), "Bootstrap").map(drop)
    }

    /// Hands the node a snapshot of etcd that it will start from.
    pub async fn etcd_recover(&self, snapshot: impl Stream<Item = Data> + Send + 'static) -> Result<(), ClientError> {
        plain!(self.machine.etcd_recover(snapshot), "EtcdRecover").map(drop)
    }

    /// A snapshot of etcd's database.
    pub async fn etcd_snapshot(&self) -> Result<Streaming<Data>, ClientError> {
        done("EtcdSnapshot", self.machine().etcd_snapshot(EtcdSnapshotRequest {}).await)
    }

    /// Members of etcd, as the node's own member knows them.
    pub async fn etcd_members(&self) -> Result<Vec<EtcdMember>, ClientError> {
        let request = EtcdMemberListRequest { query_local: true };
        Ok(plain!(self.machine.etcd_member_list(request), "EtcdMemberList")?.members)
    }

    /// Has the node's member leave etcd.
    pub async fn etcd_leave(&self) -> Result<(), ClientError> {
        plain!(self.machine.etcd_leave_cluster(EtcdLeaveClusterRequest {}), "EtcdLeaveCluster").map(drop)
    }

    /// Removes a member that is gone.
    pub async fn etcd_remove(&self, member_id: u64) -> Result<(), ClientError> {
        let request = EtcdRemoveMemberByIdRequest { member_id };
        plain!(self.machine.etcd_remove_member_by_id(request), "EtcdRemoveMemberByID").map(drop)
    }

    /// Has another member lead; its name.
    pub async fn etcd_forfeit(&self) -> Result<String, ClientError> {
        Ok(plain!(self.machine.etcd_forfeit_leadership(EtcdForfeitLeadershipRequest {}), "EtcdForfeitLeadership")?.member)
    }

    /// Whether etcd can go back to a version; the cluster's version.
    pub async fn etcd_downgrade_validate(&self, version: &str) -> Result<String, ClientError> {
        let request = EtcdDowngradeValidateRequest { version: version.into() };
        let reply = plain!(self.machine.etcd_downgrade_validate(request), "EtcdDowngradeValidate")?;
        Ok(reply.cluster_downgrade.unwrap_or_default().cluster_version)
    }

    /// Starts the way back to a version of etcd; the cluster's version.
    pub async fn etcd_downgrade_enable(&self, version: &str) -> Result<String, ClientError> {
        let request = EtcdDowngradeEnableRequest { version: version.into() };
        let reply = plain!(self.machine.etcd_downgrade_enable(request), "EtcdDowngradeEnable")?;
        Ok(reply.cluster_downgrade.unwrap_or_default().cluster_version)
    }

    /// The administrator's kubeconfig, as a gzip-compressed tar archive with one file.
    pub async fn kubeconfig(&self) -> Result<Streaming<Data>, ClientError> {
        done("Kubeconfig", self.machine().kubeconfig(()).await)
    }

    /// Goes back to the system before the last upgrade, with a restart.
    pub async fn rollback(&self) -> Result<(), ClientError> {
        plain!(self.machine.rollback(RollbackRequest {}), "Rollback").map(drop)
    }

    /// A new client configuration, signed by the node.
    pub async fn client_configuration(&self, roles: Vec<String>, life: Duration) -> Result<GenerateClientConfiguration, ClientError> {
        let crt_ttl = prost_types::Duration::try_from(life).ok();
        let request = GenerateClientConfigurationRequest { roles, crt_ttl };
        plain!(self.machine.generate_client_configuration(request), "GenerateClientConfiguration")
    }

    /// Health of the cluster, checked by the node, a line at a time.
    pub async fn health(&self, cluster_info: ClusterInfo, wait: Duration) -> Result<Streaming<HealthCheckProgress>, ClientError> {
        let request = HealthCheckRequest { wait_timeout: prost_types::Duration::try_from(wait).ok(), cluster_info: Some(cluster_info) };
        done("HealthCheck", self.cluster().health_check(request).await)
    }

    /// Images in a store of the node.
    pub async fn images(&self, store: ContainerdInstance) -> Result<Streaming<ImageServiceListResponse>, ClientError> {
        done("ImageService/List", self.image_service().list(ImageServiceListRequest { containerd: Some(store) }).await)
    }

    /// Fetches an image into a store of the node.
    pub async fn pull_image(&self, store: ContainerdInstance, image: &str) -> Result<Streaming<ImageServicePullResponse>, ClientError> {
        let request = ImageServicePullRequest { containerd: Some(store), image_ref: image.into() };
        done("ImageService/Pull", self.image_service().pull(request).await)
    }

    /// Removes an image from a store of the node.
    pub async fn remove_image(&self, store: ContainerdInstance, image: &str) -> Result<(), ClientError> {
        let request = ImageServiceRemoveRequest { containerd: Some(store), image_ref: image.into() };
        done("ImageService/Remove", self.image_service().remove(request).await)
    }
}
