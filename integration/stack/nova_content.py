"""nova_content.py ETC PROJECT USER FILE: three flavors, a compute host that is down, two instances on it.

Nothing runs: there are only the records, so that lists, details and the metadata service have something to show. The
instances' ids go to FILE. What is there already stays.
"""
import datetime
import os
import sqlite3
import sys

etc, project, user, file = sys.argv[1:]
sys.argv = ['nova-manage']

from nova import config, context, objects  # noqa: E402
from nova.network import model  # noqa: E402
from oslo_utils import uuidutils  # noqa: E402

config.parse_args(sys.argv, default_config_files=[os.path.join(etc, 'nova.conf')])
objects.register_all()
admin = context.get_admin_context()
admin.project_id, admin.user_id = project, user

names = {flavor.name for flavor in objects.FlavorList.get_all(admin)}
for number, (name, memory, disk) in enumerate((('m1.tiny', 512, 1), ('m1.small', 2048, 20), ('m1.medium', 4096, 40)), 1):
    if name not in names:
        objects.Flavor(admin, flavorid=str(number), name=name, memory_mb=memory, vcpus=number, root_gb=disk,
                       ephemeral_gb=0, swap=0, rxtx_factor=1.0, disabled=False, is_public=True, projects=[],
                       extra_specs={}, vcpu_weight=0).create()
flavor = objects.Flavor.get_by_name(admin, 'm1.tiny')
cell = next(cell for cell in objects.CellMappingList.get_all(admin) if cell.name == 'cell1')
HOST = 'host-1'
UNSET = ('task_state key_name key_data user_data access_ip_v4 access_ip_v6 trusted_certs kernel_id ramdisk_id '
         'old_flavor new_flavor').split()


def host(cctx):
    """The compute host; its id."""
    if not objects.Service.get_by_host_and_binary(cctx, HOST, 'nova-compute'):
        service = objects.Service(cctx, host=HOST, binary='nova-compute', topic='compute', report_count=1)
        service.create()
        objects.ComputeNode(
            cctx, uuid=uuidutils.generate_uuid(), host=HOST, hypervisor_hostname=HOST, service_id=service.id,
            hypervisor_type='fake', hypervisor_version=1000, host_ip='127.0.0.1', cpu_info='{}', metrics='[]',
            vcpus=8, vcpus_used=1, memory_mb=16384, memory_mb_used=512, free_ram_mb=15872, local_gb=200,
            local_gb_used=1, free_disk_gb=199, running_vms=0, current_workload=0, mapped=1, supported_hv_specs=[],
            pci_device_pools=objects.PciDevicePoolList(objects=[]), numa_topology=None, cpu_allocation_ratio=4.0,
            ram_allocation_ratio=1.0, disk_allocation_ratio=1.0).create()
        objects.HostMapping(admin, host=HOST, cell_mapping=cell).create()
    return objects.ComputeNode.get_by_host_and_nodename(cctx, HOST, HOST).id


def instance(cctx, number, compute):
    """One instance with one address; its id."""
    uuid = uuidutils.generate_uuid()
    subnet = model.Subnet(cidr='10.0.0.0/24', dns=[], routes=[], gateway=model.IP('10.0.0.1', 'gateway'),
                          ips=[model.FixedIP(address='10.0.0.%d' % (10 + number))])
    network = model.Network(id=uuidutils.generate_uuid(), bridge='br', label='private', subnets=[subnet])
    card = model.VIF(id=uuidutils.generate_uuid(), address='fa:16:3e:00:00:%02x' % number, network=network,
                     type='ovs', devname='tap%d' % number, active=True)
    made = objects.Instance(
        cctx, uuid=uuid, project_id=project, user_id=user, host=HOST, node=HOST, launched_on=HOST,
        display_name='vm-%d' % number, display_description='vm-%d' % number, hostname='vm-%d' % number,
        vm_state='active', power_state=1, compute_id=compute, flavor=flavor, instance_type_id=flavor.id,
        memory_mb=flavor.memory_mb, vcpus=flavor.vcpus, root_gb=flavor.root_gb, ephemeral_gb=0,
        image_ref=uuidutils.generate_uuid(), system_metadata={}, metadata={'number': str(number)},
        launched_at=datetime.datetime(2020, 1, 1), availability_zone='nova', config_drive='', progress=0, locked=False,
        reservation_id='r-%08d' % number, launch_index=0, root_device_name='/dev/vda', auto_disk_config=True,
        keypairs=objects.KeyPairList(objects=[]), **dict.fromkeys(UNSET))
    made.info_cache = objects.InstanceInfoCache(cctx, instance_uuid=uuid, network_info=model.NetworkInfo([card]))
    made.create()
    made.info_cache.network_info = model.NetworkInfo([card])
    made.info_cache.save()
    objects.InstanceMapping(admin, instance_uuid=uuid, project_id=project, user_id=user, cell_mapping=cell,
                            queued_for_delete=False).create()


with context.target_cell(admin, cell) as cctx:
    compute = host(cctx)
    for number in range(len(objects.InstanceMappingList.get_by_project_id(admin, project)), 2):
        instance(cctx, number, compute)
with open(file, 'w') as out:
    out.write('\n'.join(m.instance_uuid for m in objects.InstanceMappingList.get_by_project_id(admin, project)))

# It was seen long ago, so that it is down in every answer, not only after a minute.
with sqlite3.connect(objects.CellMapping.get_by_uuid(admin, cell.uuid).database_connection[len('sqlite:///'):]) as db:
    db.execute("UPDATE services SET last_seen_up = '2020-01-01', updated_at = '2020-01-01', created_at = '2020-01-01'")
