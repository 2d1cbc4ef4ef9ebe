//! machine.MachineService: each handler is one call.

use tonic::{Request, Response, Status};
use wire::{
    common::Data,
    machine::{
        ApplyConfigurationRequest, ApplyConfigurationResponse, ContainersRequest, ContainersResponse, CopyRequest, CpuFreqStatsResponse,
        CpuInfoResponse, DiskStatsResponse, DiskUsageInfo, DiskUsageRequest, DmesgRequest, Event, EventsRequest, FileInfo,
        GenerateClientConfigurationRequest, GenerateClientConfigurationResponse, HostnameResponse, ListRequest, LoadAvgResponse,
        LogsContainersResponse, LogsRequest, MemoryResponse, MetaDeleteRequest, MetaDeleteResponse, MetaWriteRequest, MetaWriteResponse,
        MountsResponse, NetstatRequest, NetstatResponse, NetworkDeviceStatsResponse, PacketCaptureRequest, ProcessesResponse, ReadRequest,
        RebootRequest, RebootResponse, ResetRequest, ResetResponse, RestartRequest, RestartResponse, RollbackRequest, RollbackResponse,
        ServiceListResponse, ServiceRestartRequest, ServiceRestartResponse, ServiceStartRequest, ServiceStartResponse, ServiceStopRequest,
        ServiceStopResponse, ShutdownRequest, ShutdownResponse, StatsRequest, StatsResponse, SystemStatResponse, VersionResponse,
    },
    server::machine::machine_service_server::MachineService,
};

use super::{
    Context, Replies, capture, client, config, containers, dmesg, files, meta, metrics, netstat, power, reset, roles::Roles, rollback,
    services, streams, system,
};

type Answer<T> = Result<Response<T>, Status>;

/// The handlers.
#[derive(Clone, Debug)]
pub(super) struct Machine(pub(super) Context);

impl Machine {
    /// Runs a job that reads files.
    async fn job<T: Send + 'static>(&self, job: impl FnOnce() -> Result<T, Status> + Send + 'static) -> Answer<T> {
        self.0.blocking.run(job).await?.map(Response::new)
    }
}

#[tonic::async_trait]
impl MachineService for Machine {
    type CopyStream = Replies<Data>;
    type DiskUsageStream = Replies<DiskUsageInfo>;
    type DmesgStream = Replies<Data>;
    type EventsStream = Replies<Event>;
    type ListStream = Replies<FileInfo>;
    type LogsStream = Replies<Data>;
    type PacketCaptureStream = Replies<Data>;
    type ReadStream = Replies<Data>;

    async fn apply_configuration(&self, request: Request<ApplyConfigurationRequest>) -> Answer<ApplyConfigurationResponse> {
        let roles = request.extensions().get::<Roles>().copied().unwrap_or_default();
        config::apply(&self.0, request.into_inner(), roles).await.map(Response::new)
    }

    async fn containers(&self, request: Request<ContainersRequest>) -> Answer<ContainersResponse> {
        containers::containers(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn copy(&self, request: Request<CopyRequest>) -> Answer<Self::CopyStream> {
        files::copy(&self.0, request.into_inner().root_path).await.map(Response::new)
    }

    async fn cpu_freq_stats(&self, _: Request<()>) -> Answer<CpuFreqStatsResponse> {
        self.job(metrics::cpu_freq_stats).await
    }

    async fn cpu_info(&self, _: Request<()>) -> Answer<CpuInfoResponse> {
        self.job(metrics::cpu_info).await
    }

    async fn disk_stats(&self, _: Request<()>) -> Answer<DiskStatsResponse> {
        self.job(metrics::disk_stats).await
    }

    async fn disk_usage(&self, request: Request<DiskUsageRequest>) -> Answer<Self::DiskUsageStream> {
        files::usage(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn dmesg(&self, request: Request<DmesgRequest>) -> Answer<Self::DmesgStream> {
        dmesg::dmesg(&self.0, request.into_inner()).map(Response::new)
    }

    async fn events(&self, request: Request<EventsRequest>) -> Answer<Self::EventsStream> {
        streams::events(&self.0, request.into_inner()).map(Response::new)
    }

    async fn generate_client_configuration(
        &self,
        request: Request<GenerateClientConfigurationRequest>,
    ) -> Answer<GenerateClientConfigurationResponse> {
        client::generate(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn hostname(&self, _: Request<()>) -> Answer<HostnameResponse> {
        Ok(Response::new(system::hostname(&self.0.sources)))
    }

    async fn list(&self, request: Request<ListRequest>) -> Answer<Self::ListStream> {
        files::list(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn load_avg(&self, _: Request<()>) -> Answer<LoadAvgResponse> {
        self.job(metrics::load_avg).await
    }

    async fn logs(&self, request: Request<LogsRequest>) -> Answer<Self::LogsStream> {
        streams::logs(&self.0, request.into_inner()).map(Response::new)
    }

    async fn logs_containers(&self, _: Request<()>) -> Answer<LogsContainersResponse> {
        Ok(Response::new(system::log_ids(&self.0.sources)))
    }

    async fn memory(&self, _: Request<()>) -> Answer<MemoryResponse> {
        self.job(metrics::memory).await
    }

    async fn meta_delete(&self, request: Request<MetaDeleteRequest>) -> Answer<MetaDeleteResponse> {
        meta::delete(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn meta_write(&self, request: Request<MetaWriteRequest>) -> Answer<MetaWriteResponse> {
        meta::write(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn mounts(&self, _: Request<()>) -> Answer<MountsResponse> {
        self.job(metrics::mounts).await
    }

    async fn netstat(&self, request: Request<NetstatRequest>) -> Answer<NetstatResponse> {
        self.job(move || netstat::netstat(request.get_ref())).await
    }

    async fn network_device_stats(&self, _: Request<()>) -> Answer<NetworkDeviceStatsResponse> {
        self.job(metrics::network_stats).await
    }

    async fn packet_capture(&self, request: Request<PacketCaptureRequest>) -> Answer<Self::PacketCaptureStream> {
        capture::capture(&self.0, request.into_inner()).map(Response::new)
    }

    async fn processes(&self, _: Request<()>) -> Answer<ProcessesResponse> {
        self.job(metrics::processes).await
    }

    async fn read(&self, request: Request<ReadRequest>) -> Answer<Self::ReadStream> {
        files::read(&self.0, request.into_inner().path).await.map(Response::new)
    }

    async fn reboot(&self, request: Request<RebootRequest>) -> Answer<RebootResponse> {
        power::reboot(&self.0.sources, request.into_inner()).await.map(Response::new)
    }

    async fn reset(&self, request: Request<ResetRequest>) -> Answer<ResetResponse> {
        reset::reset(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn restart(&self, request: Request<RestartRequest>) -> Answer<RestartResponse> {
        containers::restart(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn rollback(&self, _: Request<RollbackRequest>) -> Answer<RollbackResponse> {
        rollback::rollback(&self.0).await.map(Response::new)
    }

    async fn service_list(&self, _: Request<()>) -> Answer<ServiceListResponse> {
        Ok(Response::new(services::list(&self.0.sources)))
    }

    async fn service_restart(&self, request: Request<ServiceRestartRequest>) -> Answer<ServiceRestartResponse> {
        services::restart(&self.0.sources, &request.into_inner().id).await.map(Response::new)
    }

    async fn service_start(&self, request: Request<ServiceStartRequest>) -> Answer<ServiceStartResponse> {
        services::start(&self.0.sources, &request.into_inner().id).await.map(Response::new)
    }

    async fn service_stop(&self, request: Request<ServiceStopRequest>) -> Answer<ServiceStopResponse> {
        services::stop(&self.0.sources, &request.into_inner().id).await.map(Response::new)
    }

    async fn shutdown(&self, request: Request<ShutdownRequest>) -> Answer<ShutdownResponse> {
        power::shutdown(&self.0.sources, request.into_inner()).await.map(Response::new)
    }

    async fn stats(&self, request: Request<StatsRequest>) -> Answer<StatsResponse> {
        containers::stats(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn system_stat(&self, _: Request<()>) -> Answer<SystemStatResponse> {
        self.job(metrics::system_stat).await
    }

    async fn version(&self, _: Request<()>) -> Answer<VersionResponse> {
        Ok(Response::new(system::version(&self.0.sources)))
    }
}
