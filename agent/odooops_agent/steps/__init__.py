"""What each step of a plan does: the only place where a name becomes an act.

A handler takes a step's arguments, calls the ports and returns a few words for the timeline. Taking the same
step twice has one effect, because every verb of the ports is idempotent.
"""

from __future__ import annotations

from . import backup, data, environment, rollback, sets, traffic
from .context import Arguments, Context, Handler, Ports

HANDLERS: dict[str, Handler] = {
    "prepare_environment": environment.prepare_environment,
    "clean_up": environment.clean_up,
    "create_web": environment.create_web,
    "remove_container": environment.remove_container,
    "preload_web": environment.preload_web,
    "start_standby": environment.start_standby,
    "preload_update": environment.preload_update,
    "start_web": environment.start_web,
    "stop_container": environment.stop_container,
    "warm_web": environment.warm_web,
    "stop_cron": environment.stop_cron,
    "start_containers": environment.start_containers,
    "start_cron": environment.start_cron,
    "stop_workers": environment.stop_workers,
    "start_workers": environment.start_workers,
    "remove_old": environment.remove_old,
    "hold_requests": traffic.hold_requests,
    "resume_requests": traffic.resume_requests,
    "release_requests": traffic.release_requests,
    "drain_requests": traffic.drain_requests,
    "switch_route": traffic.switch_route,
    "switch_back": traffic.switch_back,
    "publish_route": traffic.publish_route,
    "claim_database": data.claim_database,
    "create_database": data.create_database,
    "drop_database": data.drop_database,
    "fence_database": data.fence_database,
    "unfence_database": data.unfence_database,
    "open_database": data.unfence_database,
    "snapshot_database": data.snapshot_database,
    "drop_old_sets": sets.drop_old_sets,
    "keep_images": sets.keep_images,
    "count_loss": rollback.count_loss,
    "swap_database": rollback.swap_database,
    "swap_database_back": rollback.swap_database_back,
    "swap_filestore": rollback.swap_filestore,
    "swap_filestore_back": rollback.swap_filestore_back,
    "verify_restored": rollback.verify_restored,
    "drop_snapshot": data.drop_snapshot,
    "snapshot_filestore": data.snapshot_filestore,
    "drop_filestore_snapshot": data.drop_filestore_snapshot,
    "update_modules": data.update_modules,
    "install_modules": data.update_modules,
    "stop_update": data.stop_update,
    "restore_data": data.restore_data,
    "verify_update": data.verify_update,
    "record_manifest": data.record_manifest,
    "write_parameters": data.write_parameters,
    "open_repository": backup.open_repository,
    "make_workspace": backup.make_workspace,
    "remove_workspace": backup.remove_workspace,
    "collect_files": backup.collect_files,
    "dump_database": backup.dump_database,
    "describe_backup": backup.describe_backup,
    "store_backup": backup.store_backup,
    "check_repository": backup.check_repository,
    "apply_retention": backup.apply_retention,
    "fetch_backup": backup.fetch_backup,
    "create_disposable": backup.create_disposable,
    "drop_disposable": backup.drop_disposable,
    "load_dump": backup.load_dump,
    "prove_backup": backup.prove_backup,
    "place_files": backup.place_files,
    "remove_one_off": backup.remove_one_off,
}

__all__ = ["HANDLERS", "Arguments", "Context", "Handler", "Ports"]
