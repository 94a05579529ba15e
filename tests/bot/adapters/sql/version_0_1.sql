BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0004');
CREATE TABLE claims (
	"key" VARCHAR NOT NULL, 
	at VARCHAR NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "claims" VALUES('told:op-1','2026-01-05T09:00:04+00:00');
INSERT INTO "claims" VALUES('told:op-12','2026-01-05T09:00:04+00:00');
INSERT INTO "claims" VALUES('told:op-4','2026-01-05T09:00:04+00:00');
CREATE TABLE copies (
	operation INTEGER NOT NULL, 
	channel VARCHAR NOT NULL, 
	ts VARCHAR NOT NULL, 
	PRIMARY KEY (operation, channel, ts), 
	FOREIGN KEY(operation) REFERENCES operations (number)
);
INSERT INTO "copies" VALUES(1,'CAPPROVALS','1700000000.000001');
INSERT INTO "copies" VALUES(2,'CAPPROVALS','1700000000.000004');
INSERT INTO "copies" VALUES(3,'CAPPROVALS','1700000000.000005');
INSERT INTO "copies" VALUES(4,'CAPPROVALS','1700000000.000006');
INSERT INTO "copies" VALUES(5,'CAPPROVALS','1700000000.000007');
INSERT INTO "copies" VALUES(6,'CAPPROVALS','1700000000.000008');
INSERT INTO "copies" VALUES(7,'CAPPROVALS','1700000000.000009');
INSERT INTO "copies" VALUES(8,'CAPPROVALS','1700000000.000010');
INSERT INTO "copies" VALUES(9,'CAPPROVALS','1700000000.000011');
INSERT INTO "copies" VALUES(10,'CAPPROVALS','1700000000.000012');
INSERT INTO "copies" VALUES(11,'CAPPROVALS','1700000000.000013');
INSERT INTO "copies" VALUES(12,'CAPPROVALS','1700000000.000014');
INSERT INTO "copies" VALUES(13,'CAPPROVALS','1700000000.000015');
INSERT INTO "copies" VALUES(14,'CAPPROVALS','1700000000.000016');
INSERT INTO "copies" VALUES(15,'CAPPROVALS','1700000000.000017');
CREATE TABLE events (
	position BIGINT NOT NULL, 
	operation INTEGER NOT NULL, 
	seq INTEGER NOT NULL, 
	at VARCHAR NOT NULL, 
	"by" VARCHAR NOT NULL, 
	kind VARCHAR NOT NULL, 
	data TEXT NOT NULL, 
	previous VARCHAR(64) NOT NULL, 
	hash VARCHAR(64) NOT NULL, 
	PRIMARY KEY (position), 
	UNIQUE (operation, seq), 
	FOREIGN KEY(operation) REFERENCES operations (number)
);
INSERT INTO "events" VALUES(1,1,1,'2026-01-05T09:00:00+00:00','UANA','Proposed','{"action":"migrate","at":"2026-01-05T09:00:00+00:00","by":"UANA","expires_at":"2026-01-05T09:10:00+00:00","intent":{"bandwidth":0,"copy_storage":false,"is":"Migrate","policy":"safe","reason":"disk swap","to":"host-b","vm":"web-1"},"is":"Proposed","origin":{"by":"UANA","channel":"COPS","command":"/kvm migrate web-1 host-b --reason \"disk swap\"","is":"Origin","key":"key-1","reason":"disk swap"},"plan":{"bars":[{"cpu_after":0.2188,"cpu_before":0.25,"host":"host-a","is":"HostBar","memory_after":0.129,"memory_before":0.1935},{"cpu_after":0.0938,"cpu_before":0.0625,"host":"host-b","is":"HostBar","memory_after":0.0968,"memory_before":0.0323},{"cpu_after":0.0625,"cpu_before":0.0625,"host":"host-c","is":"HostBar","memory_after":0.0,"memory_before":0.0},{"cpu_after":0.5,"cpu_before":0.5,"host":"host-d","is":"HostBar","memory_after":0.125,"memory_before":0.125}],"blast":{"hosts":["host-a","host-b"],"is":"Blast","memory":4294967296,"storage":0,"vms":["web-1"]},"is":"Plan","prediction":{"basis":"4 GiB of memory at an assumed 100 MiB/s, 8 MiB/s written","converges":true,"downtime":0.177,"is":"Prediction","seconds":43.565},"reasons":[{"code":"asked-for","is":"Reason","text":"host-b was asked for and nothing stands against it: memory allocated 3% → 10%, CPU 6% busy."}],"risk":"medium","steps":[{"bandwidth":0,"carried":{"autostart":false,"is":"Carried","paused":false,"persistent":true,"scheduler":{"cpu_shares":null,"emulator_period":null,"emulator_quota":null,"is":"Scheduler","vcpu_period":null,"vcpu_quota":null}},"copy_storage":false,"is":"MigrateVm","memory":4294967296,"name":"web-1","policy":"safe","reason":"disk swap","source":"host-a","target":"host-b","uuid":"10bdbcf1-93ef-5aec-8635-2f6164ae18c3"}],"tags":["env=prod"],"title":"Move web-1 from host-a to host-b","warnings":[]},"replaces":"","ruling":{"approvers":["approver"],"automatic":false,"expires":600,"fallback":[],"fallback_after":0,"is":"Ruling","rule":"default","votes":1}}','','b6472046849441cc334b5358818db693e8a803feea186559d8b3bbb351ee2d9f');
INSERT INTO "events" VALUES(2,1,2,'2026-01-05T09:00:00+00:00','UBRUNO','VotedFor','{"at":"2026-01-05T09:00:00+00:00","by":"UBRUNO","digest":"36006af1b5486258","is":"VotedFor"}','b6472046849441cc334b5358818db693e8a803feea186559d8b3bbb351ee2d9f','554d067e9efacde5dbb237bece92c80f3c4503400b678629e7cdd981ce7b6f4d');
INSERT INTO "events" VALUES(3,1,3,'2026-01-05T09:00:00+00:00','UBRUNO','Approved','{"at":"2026-01-05T09:00:00+00:00","by":"UBRUNO","is":"Approved"}','554d067e9efacde5dbb237bece92c80f3c4503400b678629e7cdd981ce7b6f4d','3c13babd23a6ae26fe04e8864b9f2a4a989c987e781f76650891ca6b61e9b7eb');
INSERT INTO "events" VALUES(4,1,4,'2026-01-05T09:00:00+00:00','drover','Began','{"at":"2026-01-05T09:00:00+00:00","before":null,"by":"drover","foretold":null,"is":"Began"}','3c13babd23a6ae26fe04e8864b9f2a4a989c987e781f76650891ca6b61e9b7eb','44556ec0c656f944a5ddf39c1535506896c46362fd0d52d25dfd4dc105f3526d');
INSERT INTO "events" VALUES(5,1,5,'2026-01-05T09:00:00+00:00','drover','StepBegan','{"at":"2026-01-05T09:00:00+00:00","by":"drover","index":0,"is":"StepBegan"}','44556ec0c656f944a5ddf39c1535506896c46362fd0d52d25dfd4dc105f3526d','ce3ba1daa35768cce2c1dde25f737910d0689ab65d84204e69af1fae0ac4435c');
INSERT INTO "events" VALUES(6,1,6,'2026-01-05T09:00:04+00:00','drover','StepEnded','{"at":"2026-01-05T09:00:04+00:00","by":"drover","facts":{"MiB sent":4096.0,"passes":1,"pause ms":300,"seconds":0.0},"found_done":false,"index":0,"is":"StepEnded"}','ce3ba1daa35768cce2c1dde25f737910d0689ab65d84204e69af1fae0ac4435c','e2fd51e402c2a58751acf50149807e36adbabfdb57aefca35861309fdac0f0b7');
INSERT INTO "events" VALUES(7,1,7,'2026-01-05T09:00:04+00:00','drover','Finished','{"at":"2026-01-05T09:00:04+00:00","by":"drover","is":"Finished"}','e2fd51e402c2a58751acf50149807e36adbabfdb57aefca35861309fdac0f0b7','715ee4691b423caacccc9ebda860a65659751ae1a6e6fc4782bb824d95c4de0d');
INSERT INTO "events" VALUES(8,2,1,'2026-01-05T09:00:04+00:00','UANA','Proposed','{"action":"migrate","at":"2026-01-05T09:00:04+00:00","by":"UANA","expires_at":"2026-01-05T09:10:04+00:00","intent":{"bandwidth":0,"copy_storage":false,"is":"Migrate","policy":"safe","reason":"","to":"host-c","vm":"app-1"},"is":"Proposed","origin":{"by":"UANA","channel":"COPS","command":"/kvm migrate app-1 host-c","is":"Origin","key":"key-4","reason":""},"plan":{"bars":[{"cpu_after":0.2188,"cpu_before":0.2188,"host":"host-a","is":"HostBar","memory_after":0.129,"memory_before":0.129},{"cpu_after":0.0813,"cpu_before":0.0938,"host":"host-b","is":"HostBar","memory_after":0.0645,"memory_before":0.0968},{"cpu_after":0.075,"cpu_before":0.0625,"host":"host-c","is":"HostBar","memory_after":0.0323,"memory_before":0.0},{"cpu_after":0.5,"cpu_before":0.5,"host":"host-d","is":"HostBar","memory_after":0.125,"memory_before":0.125}],"blast":{"hosts":["host-b","host-c"],"is":"Blast","memory":2147483648,"storage":0,"vms":["app-1"]},"is":"Plan","prediction":{"basis":"2 GiB of memory at an assumed 100 MiB/s, 8 MiB/s written","converges":true,"downtime":0.104,"is":"Prediction","seconds":21.783},"reasons":[{"code":"asked-for","is":"Reason","text":"host-c was asked for and nothing stands against it: memory allocated 0% → 3%, CPU 6% busy."}],"risk":"medium","steps":[{"bandwidth":0,"carried":{"autostart":false,"is":"Carried","paused":false,"persistent":true,"scheduler":{"cpu_shares":null,"emulator_period":null,"emulator_quota":null,"is":"Scheduler","vcpu_period":null,"vcpu_quota":null}},"copy_storage":false,"is":"MigrateVm","memory":2147483648,"name":"app-1","policy":"safe","reason":"","source":"host-b","target":"host-c","uuid":"f638ebe7-998b-5776-96bc-b01fe2018ba5"}],"tags":[],"title":"Move app-1 from host-b to host-c","warnings":[]},"replaces":"","ruling":{"approvers":["approver"],"automatic":false,"expires":600,"fallback":[],"fallback_after":0,"is":"Ruling","rule":"default","votes":1}}','715ee4691b423caacccc9ebda860a65659751ae1a6e6fc4782bb824d95c4de0d','6530f33c0bf09a265cd1ab4b13fedd1d8285d4070f243c686aba43302960297e');
INSERT INTO "events" VALUES(9,3,1,'2026-01-05T09:00:04+00:00','UANA','Proposed','{"action":"balance","at":"2026-01-05T09:00:04+00:00","by":"UANA","expires_at":"2026-01-05T09:10:04+00:00","intent":{"is":"Balance","max_moves":0,"min_gain":0.0,"only":"all","reason":"","recent":[["10bdbcf1-93ef-5aec-8635-2f6164ae18c3","2026-01-05T09:00:04+00:00"]],"skip":[],"unwanted":[],"wanted":[]},"is":"Proposed","origin":{"by":"UANA","channel":"COPS","command":"/kvm balance","is":"Origin","key":"key-5","reason":""},"plan":{"bars":[{"cpu_after":0.2188,"cpu_before":0.2188,"host":"host-a","is":"HostBar","memory_after":0.129,"memory_before":0.129},{"cpu_after":0.2062,"cpu_before":0.0938,"host":"host-b","is":"HostBar","memory_after":0.0968,"memory_before":0.0968},{"cpu_after":0.2625,"cpu_before":0.0625,"host":"host-c","is":"HostBar","memory_after":0.0645,"memory_before":0.0},{"cpu_after":0.1875,"cpu_before":0.5,"host":"host-d","is":"HostBar","memory_after":0.0625,"memory_before":0.125}],"blast":{"hosts":["host-d","host-c","host-b"],"is":"Blast","memory":6442450944,"storage":0,"vms":["vm-3","vm-2","app-1"]},"is":"Plan","prediction":{"basis":"3 moves one after another, 6 GiB at an assumed 100 MiB/s","converges":null,"downtime":null,"is":"Prediction","seconds":61.44},"reasons":[{"code":"summary","is":"Reason","text":"3 moves, 6 GiB: unevenness 0.254 → 0.080 (CPU 0.202 → 0.054, memory 0.051 → 0.026)."},{"code":"cpu","is":"Reason","text":"vm-3 (2 GiB) from host-d to host-c: CPU, 50% against 0% (gain 0.112)"},{"code":"cpu","is":"Reason","text":"vm-2 (2 GiB) from host-d to host-b: CPU, 31% against 4% (gain 0.050)"},{"code":"memory","is":"Reason","text":"app-1 (2 GiB) from host-b to host-c: memory, 12% against 3% (gain 0.013)"}],"risk":"medium","steps":[{"bandwidth":0,"carried":{"autostart":false,"is":"Carried","paused":false,"persistent":true,"scheduler":{"cpu_shares":null,"emulator_period":null,"emulator_quota":null,"is":"Scheduler","vcpu_period":null,"vcpu_quota":null}},"copy_storage":false,"is":"MigrateVm","memory":2147483648,"name":"vm-3","policy":"safe","reason":"vm-3 (2 GiB) from host-d to host-c: CPU, 50% against 0% (gain 0.112)","source":"host-d","target":"host-c","uuid":"549aa89c-4208-52c3-98cc-1816f6990ba2"},{"bandwidth":0,"carried":{"autostart":false,"is":"Carried","paused":false,"persistent":true,"scheduler":{"cpu_shares":null,"emulator_period":null,"emulator_quota":null,"is":"Scheduler","vcpu_period":null,"vcpu_quota":null}},"copy_storage":false,"is":"MigrateVm","memory":2147483648,"name":"vm-2","policy":"safe","reason":"vm-2 (2 GiB) from host-d to host-b: CPU, 31% against 4% (gain 0.050)","source":"host-d","target":"host-b","uuid":"4808263f-f62a-5cae-881a-f552078f35f7"},{"bandwidth":0,"carried":{"autostart":false,"is":"Carried","paused":false,"persistent":true,"scheduler":{"cpu_shares":null,"emulator_period":null,"emulator_quota":null,"is":"Scheduler","vcpu_period":null,"vcpu_quota":null}},"copy_storage":false,"is":"MigrateVm","memory":2147483648,"name":"app-1","policy":"safe","reason":"app-1 (2 GiB) from host-b to host-c: memory, 12% against 3% (gain 0.013)","source":"host-b","target":"host-c","uuid":"f638ebe7-998b-5776-96bc-b01fe2018ba5"}],"tags":[],"title":"Balance the cluster with 3 moves","warnings":[]},"replaces":"","ruling":{"approvers":["approver"],"automatic":false,"expires":600,"fallback":[],"fallback_after":0,"is":"Ruling","rule":"default","votes":1}}','6530f33c0bf09a265cd1ab4b13fedd1d8285d4070f243c686aba43302960297e','847c8009f9782a8370f06994de4f031bc7c5a78da81a857064a0b73719e78baf');
INSERT INTO "events" VALUES(10,4,1,'2026-01-05T09:00:04+00:00','UANA','Proposed','{"action":"host maintenance","at":"2026-01-05T09:00:04+00:00","by":"UANA","expires_at":"2026-01-05T09:10:04+00:00","intent":{"host":"host-d","is":"HostMaintenance","on":true,"reason":"fan"},"is":"Proposed","origin":{"by":"UANA","channel":"COPS","command":"/kvm host maintenance host-d on --reason ''fan''","is":"Origin","key":"key-6","reason":"fan"},"plan":{"bars":[],"blast":{"hosts":["host-d"],"is":"Blast","memory":0,"storage":0,"vms":[]},"is":"Plan","prediction":{"basis":"","converges":null,"downtime":null,"is":"Prediction","seconds":null},"reasons":[{"code":"maintenance","is":"Reason","text":"Nothing is placed on host-d or moved to it."}],"risk":"low","steps":[{"host":"host-d","is":"SetMaintenance","on":true,"reason":"fan"}],"tags":[],"title":"Put host-d into maintenance","warnings":[{"code":"guests","is":"Reason","text":"4 guests still there and not moved by this: vm-1, vm-2, vm-3, vm-4. Move them with `migrate VM`; what arrives meanwhile is not stopped on host-d."}]},"replaces":"","ruling":{"approvers":["approver"],"automatic":false,"expires":600,"fallback":[],"fallback_after":0,"is":"Ruling","rule":"default","votes":1}}','847c8009f9782a8370f06994de4f031bc7c5a78da81a857064a0b73719e78baf','a3a461ef43a3a5538ffa1974ad6ffae936d0d1c71c7c743bc2d29a16898e3a02');
INSERT INTO "events" VALUES(11,5,1,'2026-01-05T09:00:04+00:00','UANA','Proposed','{"action":"vm delete","at":"2026-01-05T09:00:04+00:00","by":"UANA","expires_at":"2026-01-05T09:10:04+00:00","intent":{"is":"Deletion","now":false,"reason":"","remove_disks":true,"tag":"","vm":"off-1"},"is":"Proposed","origin":{"by":"UANA","channel":"COPS","command":"/kvm vm delete off-1 --remove-disks","is":"Origin","key":"key-7","reason":""},"plan":{"bars":[],"blast":{"hosts":["host-b"],"is":"Blast","memory":2147483648,"storage":0,"vms":["off-1"]},"is":"Plan","prediction":{"basis":"","converges":null,"downtime":null,"is":"Prediction","seconds":null},"reasons":[],"risk":"destructive","steps":[{"grace":259200,"host":"host-b","is":"DeleteVm","name":"off-1","remove_disks":true,"uuid":"c720cfdc-4405-5fe2-979b-584127989884"}],"tags":[],"title":"Delete off-1 (with its disks)","warnings":[{"code":"disks","is":"Reason","text":"Disks of off-1 that will be removed: none."}]},"replaces":"","ruling":{"approvers":["approver"],"automatic":false,"expires":600,"fallback":[],"fallback_after":0,"is":"Ruling","rule":"default","votes":1}}','a3a461ef43a3a5538ffa1974ad6ffae936d0d1c71c7c743bc2d29a16898e3a02','257a431e9cc09c2f00ee2642b6e6a8b6aa30449f5e65a09c33bab448b623ecd7');
INSERT INTO "events" VALUES(12,6,1,'2026-01-05T09:00:04+00:00','UANA','Proposed','{"action":"vm limit","at":"2026-01-05T09:00:04+00:00","by":"UANA","expires_at":"2026-01-05T09:10:04+00:00","intent":{"is":"Cap","percent":1.5,"reason":"","vm":"vm-1"},"is":"Proposed","origin":{"by":"UANA","channel":"COPS","command":"/kvm vm limit vm-1 --cpu 1.5","is":"Origin","key":"key-8","reason":""},"plan":{"bars":[],"blast":{"hosts":["host-d"],"is":"Blast","memory":0,"storage":0,"vms":["vm-1"]},"is":"Plan","prediction":{"basis":"set at once, no VM stops","converges":null,"downtime":null,"is":"Prediction","seconds":null},"reasons":[{"code":"cpu","is":"Reason","text":"vm-1: at most 0.01 cores from now on; it uses 1.00 cores"}],"risk":"medium","steps":[{"before":{"cpu_shares":null,"emulator_period":null,"emulator_quota":null,"is":"Scheduler","vcpu_period":null,"vcpu_quota":-1},"host":"host-d","is":"SetScheduler","name":"vm-1","reason":"at most 0.01 cores from now on; it uses 1.00 cores","uuid":"309e1eb1-50c3-5832-bc5f-0c57ee7bcc32","vcpus":1,"wanted":{"cpu_shares":null,"emulator_period":null,"emulator_quota":null,"is":"Scheduler","vcpu_period":100000,"vcpu_quota":1500}}],"tags":[],"title":"Limit vm-1 to 1.5% of a core","warnings":[]},"replaces":"","ruling":{"approvers":["approver"],"automatic":false,"expires":600,"fallback":[],"fallback_after":0,"is":"Ruling","rule":"default","votes":1}}','257a431e9cc09c2f00ee2642b6e6a8b6aa30449f5e65a09c33bab448b623ecd7','e9f3b0d20b3d49667a4afbbeefa1360c9f7464fde2098f975225f6bb47f28984');
INSERT INTO "events" VALUES(13,7,1,'2026-01-05T09:00:04+00:00','UANA','Proposed','{"action":"host rolling","at":"2026-01-05T09:00:04+00:00","by":"UANA","expires_at":"2026-01-05T09:10:04+00:00","intent":{"command":"","hosts":["host-c"],"is":"Rolling","reason":"","reboots":false},"is":"Proposed","origin":{"by":"UANA","channel":"COPS","command":"/kvm host rolling host-c","is":"Origin","key":"key-9","reason":""},"plan":{"bars":[],"blast":{"hosts":["host-c"],"is":"Blast","memory":0,"storage":0,"vms":[]},"is":"Plan","prediction":{"basis":"0 moves one after another, 0 B at an assumed 100 MiB/s","converges":null,"downtime":null,"is":"Prediction","seconds":0.0},"reasons":[{"code":"anew","is":"Reason","text":"When a host''s turn comes and its moves no longer hold, they are planned anew: its own VMs leave, and come home."},{"code":"turn","is":"Reason","text":"host-c: 0 VMs leave; people work on it; then home."}],"risk":"medium","steps":[{"host":"host-c","is":"SetMaintenance","on":true,"reason":""},{"advice":"If host-c is still in maintenance, bring it and its VMs back with `host undrain host-c`.","host":"host-c","is":"WaitForPerson","patience":86400.0,"what":"Work on host-c: it is empty and in maintenance"},{"host":"host-c","is":"SetMaintenance","on":false,"reason":""}],"tags":[],"title":"Rolling maintenance of host-c","warnings":[]},"replaces":"","ruling":{"approvers":["approver"],"automatic":false,"expires":600,"fallback":[],"fallback_after":0,"is":"Ruling","rule":"default","votes":1}}','e9f3b0d20b3d49667a4afbbeefa1360c9f7464fde2098f975225f6bb47f28984','86f10401c75257ff8d1c1968e3e72e2e3556f41b98fb90b0166e4a14f606b9df');
INSERT INTO "events" VALUES(14,8,1,'2026-01-05T09:00:04+00:00','UANA','Proposed','{"action":"vm shutdown","at":"2026-01-05T09:00:04+00:00","by":"UANA","expires_at":"2026-01-05T09:10:04+00:00","intent":{"is":"VmVerb","reason":"","tag":"","verb":"shutdown","vm":"db-1"},"is":"Proposed","origin":{"by":"UANA","channel":"COPS","command":"/kvm vm shutdown db-1","is":"Origin","key":"key-10","reason":""},"plan":{"bars":[],"blast":{"hosts":["host-a"],"is":"Blast","memory":8589934592,"storage":0,"vms":["db-1"]},"is":"Plan","prediction":{"basis":"","converges":null,"downtime":null,"is":"Prediction","seconds":null},"reasons":[],"risk":"medium","steps":[{"host":"host-a","is":"PowerVm","name":"db-1","uuid":"94990fd8-5bc1-57c8-855d-8ef0d88410f1","verb":"shut down"}],"tags":[],"title":"Shut down db-1 on host-a","warnings":[]},"replaces":"","ruling":{"approvers":["approver"],"automatic":false,"expires":600,"fallback":[],"fallback_after":0,"is":"Ruling","rule":"default","votes":1}}','86f10401c75257ff8d1c1968e3e72e2e3556f41b98fb90b0166e4a14f606b9df','dbd8182bdf7d441b9fe8c99dab3d80c30373c62212b151a674e969d1903e3e18');
INSERT INTO "events" VALUES(15,9,1,'2026-01-05T09:00:04+00:00','UANA','Proposed','{"action":"vm clone","at":"2026-01-05T09:00:04+00:00","by":"UANA","expires_at":"2026-01-05T09:10:04+00:00","intent":{"is":"NewClone","reason":"","to":"clone-1","vm":"off-1"},"is":"Proposed","origin":{"by":"UANA","channel":"COPS","command":"/kvm vm clone off-1 clone-1","is":"Origin","key":"key-11","reason":""},"plan":{"bars":[],"blast":{"hosts":["host-b"],"is":"Blast","memory":2147483648,"storage":0,"vms":["off-1"]},"is":"Plan","prediction":{"basis":"","converges":null,"downtime":null,"is":"Prediction","seconds":null},"reasons":[],"risk":"medium","steps":[{"disks":[],"host":"host-b","is":"CloneVm","macs":["52:54:00:ba:9e:ed"],"meta_data":"{\n \"instance-id\": \"097224e3-5bb3-5cc3-88d4-61c1c7108180\",\n \"local-hostname\": \"clone-1\"\n}\n","name":"clone-1","network_config":"{\n \"version\": 2,\n \"ethernets\": {\n  \"primary\": {\n   \"match\": {\n    \"macaddress\": \"52:54:00:ba:9e:ed\"\n   },\n   \"dhcp4\": true\n  }\n }\n}\n","seed":["",""],"source":"c720cfdc-4405-5fe2-979b-584127989884","source_name":"off-1","tags":[],"uuid":"097224e3-5bb3-5cc3-88d4-61c1c7108180"}],"tags":[],"title":"Clone off-1 as clone-1 on host-b","warnings":[]},"replaces":"","ruling":{"approvers":["approver"],"automatic":false,"expires":600,"fallback":[],"fallback_after":0,"is":"Ruling","rule":"default","votes":1}}','dbd8182bdf7d441b9fe8c99dab3d80c30373c62212b151a674e969d1903e3e18','58ca398fb9f432ab2975b3d29f4577ddb5878f8339042c84cd2eb8476ad0f8b1');
INSERT INTO "events" VALUES(16,10,1,'2026-01-05T09:00:04+00:00','UANA','Proposed','{"action":"vm nic add","at":"2026-01-05T09:00:04+00:00","by":"UANA","expires_at":"2026-01-05T09:10:04+00:00","intent":{"is":"NicWish","reason":"","verb":"add","vm":"db-1","what":"br0"},"is":"Proposed","origin":{"by":"UANA","channel":"COPS","command":"/kvm vm nic add db-1 br0","is":"Origin","key":"key-13","reason":""},"plan":{"bars":[],"blast":{"hosts":["host-a"],"is":"Blast","memory":8589934592,"storage":0,"vms":["db-1"]},"is":"Plan","prediction":{"basis":"","converges":null,"downtime":null,"is":"Prediction","seconds":null},"reasons":[],"risk":"medium","steps":[{"host":"host-a","is":"AddNic","mac":"52:54:00:9a:82:20","name":"db-1","network":"br0","network_kind":"bridge","uuid":"94990fd8-5bc1-57c8-855d-8ef0d88410f1"}],"tags":[],"title":"Add a card on br0 (52:54:00:9a:82:20) to db-1","warnings":[]},"replaces":"","ruling":{"approvers":["approver"],"automatic":false,"expires":600,"fallback":[],"fallback_after":0,"is":"Ruling","rule":"default","votes":1}}','58ca398fb9f432ab2975b3d29f4577ddb5878f8339042c84cd2eb8476ad0f8b1','5e131be2ffc1f60d4d620eb8fa04d3cab2a4df17818f36c10211d4854ce60894');
INSERT INTO "events" VALUES(17,11,1,'2026-01-05T09:00:04+00:00','UANA','Proposed','{"action":"vm force-off","at":"2026-01-05T09:00:04+00:00","by":"UANA","expires_at":"2026-01-05T09:10:04+00:00","intent":{"is":"VmVerb","reason":"","tag":"","verb":"force-off","vm":"db-1"},"is":"Proposed","origin":{"by":"UANA","channel":"COPS","command":"/kvm vm force-off db-1","is":"Origin","key":"key-14","reason":""},"plan":{"bars":[],"blast":{"hosts":["host-a"],"is":"Blast","memory":8589934592,"storage":0,"vms":["db-1"]},"is":"Plan","prediction":{"basis":"","converges":null,"downtime":null,"is":"Prediction","seconds":null},"reasons":[],"risk":"high","steps":[{"host":"host-a","is":"PowerVm","name":"db-1","uuid":"94990fd8-5bc1-57c8-855d-8ef0d88410f1","verb":"force off"}],"tags":[],"title":"Force off db-1 on host-a","warnings":[{"code":"data-loss","is":"Reason","text":"db-1 runs: what it has not written to disk is lost."}]},"replaces":"","ruling":{"approvers":["approver"],"automatic":false,"expires":600,"fallback":[],"fallback_after":0,"is":"Ruling","rule":"careful","votes":2}}','5e131be2ffc1f60d4d620eb8fa04d3cab2a4df17818f36c10211d4854ce60894','f53c5466c1dec78b669b8efac6c4963ce49f9ef0b90061b9c20eaa6b387829f1');
INSERT INTO "events" VALUES(18,12,1,'2026-01-05T09:00:04+00:00','UANA','Proposed','{"action":"vm snapshot create","at":"2026-01-05T09:00:04+00:00","by":"UANA","expires_at":"2026-01-05T09:10:04+00:00","intent":{"description":"","is":"SnapshotWish","reason":"safe","snapshot":"before-upgrade","verb":"create","vm":"db-1"},"is":"Proposed","origin":{"by":"UANA","channel":"COPS","command":"/kvm vm snapshot create db-1 before-upgrade --reason \"safe\"","is":"Origin","key":"key-15","reason":"safe"},"plan":{"bars":[],"blast":{"hosts":["host-a"],"is":"Blast","memory":8589934592,"storage":0,"vms":["db-1"]},"is":"Plan","prediction":{"basis":"","converges":null,"downtime":null,"is":"Prediction","seconds":null},"reasons":[],"risk":"medium","steps":[{"description":"","host":"host-a","is":"SnapshotVm","name":"db-1","snapshot":"before-upgrade","token":"","uuid":"94990fd8-5bc1-57c8-855d-8ef0d88410f1","verb":"create"}],"tags":[],"title":"Take snapshot before-upgrade of db-1","warnings":[]},"replaces":"","ruling":{"approvers":["approver"],"automatic":false,"expires":600,"fallback":[],"fallback_after":0,"is":"Ruling","rule":"default","votes":1}}','f53c5466c1dec78b669b8efac6c4963ce49f9ef0b90061b9c20eaa6b387829f1','499a08228ffd1c5eb194a8582c420df4ac0703f678cb318d40e2ad93b0f10ac3');
INSERT INTO "events" VALUES(19,13,1,'2026-01-05T09:00:04+00:00','UANA','Proposed','{"action":"vm tag","at":"2026-01-05T09:00:04+00:00","by":"UANA","expires_at":"2026-01-05T09:10:04+00:00","intent":{"give":[["tier","gold"]],"is":"NewTags","reason":"","take":[],"vm":"db-1"},"is":"Proposed","origin":{"by":"UANA","channel":"COPS","command":"/kvm vm tag db-1 tier=gold","is":"Origin","key":"key-18","reason":""},"plan":{"bars":[],"blast":{"hosts":["host-a"],"is":"Blast","memory":8589934592,"storage":0,"vms":["db-1"]},"is":"Plan","prediction":{"basis":"","converges":null,"downtime":null,"is":"Prediction","seconds":null},"reasons":[],"risk":"low","steps":[{"host":"host-a","is":"TagVm","name":"db-1","tags":[["tier","gold"]],"uuid":"94990fd8-5bc1-57c8-855d-8ef0d88410f1"}],"tags":[],"title":"Tag db-1: tier=gold","warnings":[]},"replaces":"","ruling":{"approvers":["approver"],"automatic":false,"expires":600,"fallback":[],"fallback_after":0,"is":"Ruling","rule":"default","votes":1}}','499a08228ffd1c5eb194a8582c420df4ac0703f678cb318d40e2ad93b0f10ac3','2ae46228e87f8d0976d428ab27b26e53230466105b6741853a703d5c5bcfd021');
INSERT INTO "events" VALUES(20,14,1,'2026-01-05T09:00:04+00:00','UANA','Proposed','{"action":"vm resize","at":"2026-01-05T09:00:04+00:00","by":"UANA","expires_at":"2026-01-05T09:10:04+00:00","intent":{"cpus":0,"is":"NewSize","memory":4294967296,"reason":"","vm":"db-1"},"is":"Proposed","origin":{"by":"UANA","channel":"COPS","command":"/kvm vm resize db-1 --memory 4G","is":"Origin","key":"key-19","reason":""},"plan":{"bars":[],"blast":{"hosts":["host-a"],"is":"Blast","memory":8589934592,"storage":0,"vms":["db-1"]},"is":"Plan","prediction":{"basis":"","converges":null,"downtime":null,"is":"Prediction","seconds":null},"reasons":[],"risk":"medium","steps":[{"host":"host-a","is":"ResizeVm","memory":4294967296,"name":"db-1","uuid":"94990fd8-5bc1-57c8-855d-8ef0d88410f1","vcpus":2}],"tags":[],"title":"Resize db-1 to 2 vCPUs and 4 GiB","warnings":[]},"replaces":"","ruling":{"approvers":["approver"],"automatic":false,"expires":600,"fallback":[],"fallback_after":0,"is":"Ruling","rule":"default","votes":1}}','2ae46228e87f8d0976d428ab27b26e53230466105b6741853a703d5c5bcfd021','87711f04420051980dc839e57b7590d4ba163766ae8f8222f71fa9a74e4e9e18');
INSERT INTO "events" VALUES(21,15,1,'2026-01-05T09:00:04+00:00','UANA','Proposed','{"action":"host drain","at":"2026-01-05T09:00:04+00:00","by":"UANA","expires_at":"2026-01-05T09:10:04+00:00","intent":{"host":"host-a","is":"Drain","reason":""},"is":"Proposed","origin":{"by":"UANA","channel":"COPS","command":"/kvm host drain host-a","is":"Origin","key":"key-22","reason":""},"plan":{"bars":[{"cpu_after":0.1562,"cpu_before":0.2188,"host":"host-a","is":"HostBar","memory_after":0.0,"memory_before":0.129},{"cpu_after":0.0938,"cpu_before":0.0938,"host":"host-b","is":"HostBar","memory_after":0.0968,"memory_before":0.0968},{"cpu_after":0.125,"cpu_before":0.0625,"host":"host-c","is":"HostBar","memory_after":0.129,"memory_before":0.0},{"cpu_after":0.5,"cpu_before":0.5,"host":"host-d","is":"HostBar","memory_after":0.125,"memory_before":0.125}],"blast":{"hosts":["host-a","host-c"],"is":"Blast","memory":8589934592,"storage":0,"vms":["db-1"]},"is":"Plan","prediction":{"basis":"1 move one after another, 8 GiB at an assumed 100 MiB/s","converges":null,"downtime":null,"is":"Prediction","seconds":81.92},"reasons":[{"code":"summary","is":"Reason","text":"1 move, 8 GiB: unevenness 0.279 → 0.226 (CPU 0.226 → 0.211, memory 0.053 → 0.015); stranded 1 → 0."},{"code":"maintenance","is":"Reason","text":"db-1 (8 GiB) from host-a to host-c: its host is in maintenance"}],"risk":"medium","steps":[{"host":"host-a","is":"SetMaintenance","on":true,"reason":""},{"bandwidth":0,"carried":{"autostart":false,"is":"Carried","paused":false,"persistent":true,"scheduler":{"cpu_shares":null,"emulator_period":null,"emulator_quota":null,"is":"Scheduler","vcpu_period":null,"vcpu_quota":null}},"copy_storage":false,"is":"MigrateVm","memory":8589934592,"name":"db-1","policy":"safe","reason":"db-1 (8 GiB) from host-a to host-c: its host is in maintenance","source":"host-a","target":"host-c","uuid":"94990fd8-5bc1-57c8-855d-8ef0d88410f1"}],"tags":[],"title":"Drain host-a for maintenance","warnings":[]},"replaces":"","ruling":{"approvers":["approver"],"automatic":false,"expires":600,"fallback":[],"fallback_after":0,"is":"Ruling","rule":"default","votes":1}}','87711f04420051980dc839e57b7590d4ba163766ae8f8222f71fa9a74e4e9e18','32cd6700af859feb92fdec50de116d55a1dd4e50871a3133113dc02cbe611c51');
INSERT INTO "events" VALUES(22,12,2,'2026-01-05T09:00:04+00:00','UCARLA','Denied','{"at":"2026-01-05T09:00:04+00:00","by":"UCARLA","is":"Denied","why":"not today"}','32cd6700af859feb92fdec50de116d55a1dd4e50871a3133113dc02cbe611c51','3a6e62ca63205e91f0773c56eded5d480fbefb2375acf12829f1ee3a32f5bc3d');
INSERT INTO "events" VALUES(23,13,2,'2026-01-05T09:00:04+00:00','UBRUNO','VotedFor','{"at":"2026-01-05T09:00:04+00:00","by":"UBRUNO","digest":"6da49afe0b233b61","is":"VotedFor"}','3a6e62ca63205e91f0773c56eded5d480fbefb2375acf12829f1ee3a32f5bc3d','fede82c8ece21022638f2f80505b2552b81b02a4f608ef6f4be559e46549e31c');
INSERT INTO "events" VALUES(24,13,3,'2026-01-05T09:00:04+00:00','UBRUNO','Approved','{"at":"2026-01-05T09:00:04+00:00","by":"UBRUNO","is":"Approved"}','fede82c8ece21022638f2f80505b2552b81b02a4f608ef6f4be559e46549e31c','494dc773815597b40d1b2ff54f87dd8eab91ee568bcbf6144fc4c883f9384643');
INSERT INTO "events" VALUES(25,13,4,'2026-01-05T09:00:04+00:00','drover','Began','{"at":"2026-01-05T09:00:04+00:00","before":null,"by":"drover","foretold":null,"is":"Began"}','494dc773815597b40d1b2ff54f87dd8eab91ee568bcbf6144fc4c883f9384643','dbf72914eb8121a678aca0cb25090d9e6b1de1d5269bbcd062eb74cbd8cc217f');
INSERT INTO "events" VALUES(26,13,5,'2026-01-05T09:00:04+00:00','drover','StepBegan','{"at":"2026-01-05T09:00:04+00:00","by":"drover","index":0,"is":"StepBegan"}','dbf72914eb8121a678aca0cb25090d9e6b1de1d5269bbcd062eb74cbd8cc217f','c6b307501752dcda1507e086e6fcbc1c714a26ff5dbf4385ce58fab8e7001f30');
INSERT INTO "events" VALUES(27,13,6,'2026-01-05T09:00:04+00:00','drover','Noted','{"at":"2026-01-05T09:00:04+00:00","by":"drover","is":"Noted","text":"the first look found nothing"}','c6b307501752dcda1507e086e6fcbc1c714a26ff5dbf4385ce58fab8e7001f30','9da577beb3c3938d484f4a8c033fd5c3dae0cc56460a3365672fe4471e0876de');
INSERT INTO "events" VALUES(28,13,7,'2026-01-05T09:00:04+00:00','UANA','Asked','{"ask":"cancel","at":"2026-01-05T09:00:04+00:00","by":"UANA","is":"Asked"}','9da577beb3c3938d484f4a8c033fd5c3dae0cc56460a3365672fe4471e0876de','8d65124a0f7aea3de33bc024dfc2851d2eb80d7e3b67e551e479e21dacbd341f');
INSERT INTO "events" VALUES(29,13,8,'2026-01-05T09:00:04+00:00','drover','Failed','{"advice":"Look at it.","at":"2026-01-05T09:00:04+00:00","by":"drover","index":0,"is":"Failed","remedies":[{"command":"vm force-off db-1","is":"Remedy","text":"Force it…"}],"why":"It is still there."}','8d65124a0f7aea3de33bc024dfc2851d2eb80d7e3b67e551e479e21dacbd341f','21811901bc4cb81b2763c876c255136cba2126225d3dec344461c309e0793f09');
INSERT INTO "events" VALUES(30,14,2,'2026-01-05T09:00:04+00:00','drover','Noted','{"at":"2026-01-05T09:00:04+00:00","by":"drover","is":"Noted","text":"Shown to boss."}','21811901bc4cb81b2763c876c255136cba2126225d3dec344461c309e0793f09','51182a65a28f90c891b7ae4b7449c3e08156f20fb146c0f0141326884ea01961');
INSERT INTO "events" VALUES(31,4,2,'2026-01-05T09:00:04+00:00','UANA','Withdrawn','{"at":"2026-01-05T09:00:04+00:00","by":"UANA","is":"Withdrawn"}','51182a65a28f90c891b7ae4b7449c3e08156f20fb146c0f0141326884ea01961','fd4570559dc161bdcb4f81593066e42ab47e18d1008560c5842eceb8b2743b4b');
INSERT INTO "events" VALUES(32,15,2,'2026-01-05T09:00:04+00:00','UBRUNO','VotedFor','{"at":"2026-01-05T09:00:04+00:00","by":"UBRUNO","digest":"816c7ca045beb37d","is":"VotedFor"}','fd4570559dc161bdcb4f81593066e42ab47e18d1008560c5842eceb8b2743b4b','6cf5c0080f19dc1436e4f2a409d9d2b7307cec0d3d7f21a1767cdf6e89dce85a');
INSERT INTO "events" VALUES(33,15,3,'2026-01-05T09:00:04+00:00','UBRUNO','Approved','{"at":"2026-01-05T09:00:04+00:00","by":"UBRUNO","is":"Approved"}','6cf5c0080f19dc1436e4f2a409d9d2b7307cec0d3d7f21a1767cdf6e89dce85a','e9b670a2ba9c7a61664389e94e1bb947d5edc577918b1cde688124f1f93ea1d8');
INSERT INTO "events" VALUES(34,15,4,'2026-01-05T09:00:04+00:00','drover','Began','{"at":"2026-01-05T09:00:04+00:00","before":{"busiest":0.5,"idlest":0.1,"is":"Spread","unevenness":0.3},"by":"drover","foretold":{"busiest":0.5,"idlest":0.1,"is":"Spread","unevenness":0.3},"is":"Began"}','e9b670a2ba9c7a61664389e94e1bb947d5edc577918b1cde688124f1f93ea1d8','2c693d6649927b3deb88c5d67c4d3c2de55e025fb797a4aa5747c408e2591ef2');
INSERT INTO "events" VALUES(35,15,5,'2026-01-05T09:00:04+00:00','drover','StepBegan','{"at":"2026-01-05T09:00:04+00:00","by":"drover","index":0,"is":"StepBegan"}','2c693d6649927b3deb88c5d67c4d3c2de55e025fb797a4aa5747c408e2591ef2','e7741da875755907f026f729070d33347828d0c2788750775f7fad4b5c475892');
INSERT INTO "events" VALUES(36,15,6,'2026-01-05T09:00:04+00:00','drover','StepEnded','{"at":"2026-01-05T09:00:04+00:00","by":"drover","facts":{},"found_done":false,"index":0,"is":"StepEnded"}','e7741da875755907f026f729070d33347828d0c2788750775f7fad4b5c475892','35f1941a6eb8ec81c9defd6909d4d772ab94908638d0f10d9a06c6773f6a9bc8');
INSERT INTO "events" VALUES(37,15,7,'2026-01-05T09:00:04+00:00','drover','StepBegan','{"at":"2026-01-05T09:00:04+00:00","by":"drover","index":1,"is":"StepBegan"}','35f1941a6eb8ec81c9defd6909d4d772ab94908638d0f10d9a06c6773f6a9bc8','5a07e8e654cd4e7d288dff54111e2478baa2c8e48e70e90e58110ef3cfecc66e');
INSERT INTO "events" VALUES(38,15,8,'2026-01-05T09:00:04+00:00','drover','StepEnded','{"at":"2026-01-05T09:00:04+00:00","by":"drover","facts":{"MiB sent":118.0,"passes":3,"pause ms":101,"seconds":4.2},"found_done":false,"index":1,"is":"StepEnded"}','5a07e8e654cd4e7d288dff54111e2478baa2c8e48e70e90e58110ef3cfecc66e','659564bdb950d0472d5052f3491122e64729da27fdc58fe26ce82c3917bc95c6');
INSERT INTO "events" VALUES(39,11,2,'2026-01-05T09:00:04+00:00','UBRUNO','VotedFor','{"at":"2026-01-05T09:00:04+00:00","by":"UBRUNO","digest":"f5bc25d6105c0123","is":"VotedFor"}','659564bdb950d0472d5052f3491122e64729da27fdc58fe26ce82c3917bc95c6','f3cf5ada7fe9dcd3edb6a2d2741c71937e0c89c9ccee655e998568c674d6a7bf');
CREATE TABLE head (
	id INTEGER NOT NULL, 
	position BIGINT NOT NULL, 
	hash VARCHAR(64) NOT NULL, 
	number INTEGER NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "head" VALUES(1,39,'f3cf5ada7fe9dcd3edb6a2d2741c71937e0c89c9ccee655e998568c674d6a7bf',15);
CREATE TABLE maintenance (
	host VARCHAR NOT NULL, 
	since VARCHAR, 
	PRIMARY KEY (host)
);
CREATE TABLE measured (
	id INTEGER NOT NULL, 
	entity VARCHAR NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (entity)
);
CREATE TABLE notes (
	"key" VARCHAR NOT NULL, 
	version INTEGER NOT NULL, 
	text TEXT NOT NULL, 
	PRIMARY KEY ("key")
);
CREATE TABLE operation_vms (
	uuid VARCHAR NOT NULL, 
	operation INTEGER NOT NULL, 
	PRIMARY KEY (uuid, operation), 
	FOREIGN KEY(operation) REFERENCES operations (number)
);
INSERT INTO "operation_vms" VALUES('10bdbcf1-93ef-5aec-8635-2f6164ae18c3',1);
INSERT INTO "operation_vms" VALUES('f638ebe7-998b-5776-96bc-b01fe2018ba5',2);
INSERT INTO "operation_vms" VALUES('4808263f-f62a-5cae-881a-f552078f35f7',3);
INSERT INTO "operation_vms" VALUES('549aa89c-4208-52c3-98cc-1816f6990ba2',3);
INSERT INTO "operation_vms" VALUES('f638ebe7-998b-5776-96bc-b01fe2018ba5',3);
INSERT INTO "operation_vms" VALUES('c720cfdc-4405-5fe2-979b-584127989884',5);
INSERT INTO "operation_vms" VALUES('309e1eb1-50c3-5832-bc5f-0c57ee7bcc32',6);
INSERT INTO "operation_vms" VALUES('94990fd8-5bc1-57c8-855d-8ef0d88410f1',8);
INSERT INTO "operation_vms" VALUES('097224e3-5bb3-5cc3-88d4-61c1c7108180',9);
INSERT INTO "operation_vms" VALUES('c720cfdc-4405-5fe2-979b-584127989884',9);
INSERT INTO "operation_vms" VALUES('94990fd8-5bc1-57c8-855d-8ef0d88410f1',10);
INSERT INTO "operation_vms" VALUES('94990fd8-5bc1-57c8-855d-8ef0d88410f1',11);
INSERT INTO "operation_vms" VALUES('94990fd8-5bc1-57c8-855d-8ef0d88410f1',12);
INSERT INTO "operation_vms" VALUES('94990fd8-5bc1-57c8-855d-8ef0d88410f1',13);
INSERT INTO "operation_vms" VALUES('94990fd8-5bc1-57c8-855d-8ef0d88410f1',14);
INSERT INTO "operation_vms" VALUES('94990fd8-5bc1-57c8-855d-8ef0d88410f1',15);
CREATE TABLE operations (
	number INTEGER NOT NULL, 
	origin_key VARCHAR, 
	state VARCHAR NOT NULL, 
	version INTEGER NOT NULL, 
	requester VARCHAR NOT NULL, 
	PRIMARY KEY (number), 
	UNIQUE (origin_key)
);
INSERT INTO "operations" VALUES(1,'key-1','done',7,'UANA');
INSERT INTO "operations" VALUES(2,'key-4','proposed',1,'UANA');
INSERT INTO "operations" VALUES(3,'key-5','proposed',1,'UANA');
INSERT INTO "operations" VALUES(4,'key-6','withdrawn',2,'UANA');
INSERT INTO "operations" VALUES(5,'key-7','proposed',1,'UANA');
INSERT INTO "operations" VALUES(6,'key-8','proposed',1,'UANA');
INSERT INTO "operations" VALUES(7,'key-9','proposed',1,'UANA');
INSERT INTO "operations" VALUES(8,'key-10','proposed',1,'UANA');
INSERT INTO "operations" VALUES(9,'key-11','proposed',1,'UANA');
INSERT INTO "operations" VALUES(10,'key-13','proposed',1,'UANA');
INSERT INTO "operations" VALUES(11,'key-14','proposed',2,'UANA');
INSERT INTO "operations" VALUES(12,'key-15','denied',2,'UANA');
INSERT INTO "operations" VALUES(13,'key-18','failed',8,'UANA');
INSERT INTO "operations" VALUES(14,'key-19','proposed',2,'UANA');
INSERT INTO "operations" VALUES(15,'key-22','running',8,'UANA');
CREATE TABLE raw (
	at BIGINT NOT NULL, 
	entity INTEGER NOT NULL, 
	cpu BIGINT, 
	wait BIGINT, 
	memory BIGINT, 
	disk BIGINT, 
	net BIGINT, 
	space BIGINT, 
	PRIMARY KEY (at, entity), 
	FOREIGN KEY(entity) REFERENCES measured (id)
)
 WITHOUT ROWID

;
CREATE TABLE replicas (
	name VARCHAR NOT NULL, 
	beats BIGINT NOT NULL, 
	epoch VARCHAR, 
	PRIMARY KEY (name)
);
CREATE TABLE requests (
	arrived INTEGER NOT NULL, 
	"key" VARCHAR NOT NULL, 
	kind VARCHAR NOT NULL, 
	data TEXT NOT NULL, 
	accepted_at VARCHAR NOT NULL, 
	handled_at VARCHAR, 
	replica VARCHAR, 
	PRIMARY KEY (arrived), 
	UNIQUE ("key")
);
INSERT INTO "requests" VALUES(1,'key-1','command','{"action":"","answers":[],"at":"2026-01-05T09:00:00+00:00","by":"UANA","channel":"COPS","is":"Request","key":"key-1","kind":"command","locale":"","message":"","text":"migrate web-1 host-b --reason \"disk swap\"","thread":"","trigger":"","value":""}','2026-01-05T09:00:00+00:00','2026-01-05T09:00:00+00:00','drover-1');
INSERT INTO "requests" VALUES(2,'key-2','click','{"action":"op.approve","answers":[],"at":"2026-01-05T09:00:00+00:00","by":"UBRUNO","channel":"CAPPROVALS","is":"Request","key":"key-2","kind":"click","locale":"","message":"","text":"","thread":"","trigger":"key-2","value":"op-1:36006af1b5486258"}','2026-01-05T09:00:00+00:00','2026-01-05T09:00:00+00:00','drover-1');
INSERT INTO "requests" VALUES(3,'key-3','command','{"action":"","answers":[],"at":"2026-01-05T09:00:04+00:00","by":"UANA","channel":"COPS","is":"Request","key":"key-3","kind":"command","locale":"","message":"","text":"migrate app-1 --to host-c","thread":"","trigger":"","value":""}','2026-01-05T09:00:04+00:00','2026-01-05T09:00:04+00:00','drover-1');
INSERT INTO "requests" VALUES(4,'key-4','command','{"action":"","answers":[],"at":"2026-01-05T09:00:04+00:00","by":"UANA","channel":"COPS","is":"Request","key":"key-4","kind":"command","locale":"","message":"","text":"migrate app-1 host-c","thread":"","trigger":"","value":""}','2026-01-05T09:00:04+00:00','2026-01-05T09:00:04+00:00','drover-1');
INSERT INTO "requests" VALUES(5,'key-5','command','{"action":"","answers":[],"at":"2026-01-05T09:00:04+00:00","by":"UANA","channel":"COPS","is":"Request","key":"key-5","kind":"command","locale":"","message":"","text":"balance","thread":"","trigger":"","value":""}','2026-01-05T09:00:04+00:00','2026-01-05T09:00:04+00:00','drover-1');
INSERT INTO "requests" VALUES(6,'key-6','command','{"action":"","answers":[],"at":"2026-01-05T09:00:04+00:00","by":"UANA","channel":"COPS","is":"Request","key":"key-6","kind":"command","locale":"","message":"","text":"host maintenance host-d on --reason ''fan''","thread":"","trigger":"","value":""}','2026-01-05T09:00:04+00:00','2026-01-05T09:00:04+00:00','drover-1');
INSERT INTO "requests" VALUES(7,'key-7','command','{"action":"","answers":[],"at":"2026-01-05T09:00:04+00:00","by":"UANA","channel":"COPS","is":"Request","key":"key-7","kind":"command","locale":"","message":"","text":"vm delete off-1 --remove-disks","thread":"","trigger":"","value":""}','2026-01-05T09:00:04+00:00','2026-01-05T09:00:04+00:00','drover-1');
INSERT INTO "requests" VALUES(8,'key-8','command','{"action":"","answers":[],"at":"2026-01-05T09:00:04+00:00","by":"UANA","channel":"COPS","is":"Request","key":"key-8","kind":"command","locale":"","message":"","text":"vm limit vm-1 --cpu 1.5","thread":"","trigger":"","value":""}','2026-01-05T09:00:04+00:00','2026-01-05T09:00:04+00:00','drover-1');
INSERT INTO "requests" VALUES(9,'key-9','command','{"action":"","answers":[],"at":"2026-01-05T09:00:04+00:00","by":"UANA","channel":"COPS","is":"Request","key":"key-9","kind":"command","locale":"","message":"","text":"host rolling host-c","thread":"","trigger":"","value":""}','2026-01-05T09:00:04+00:00','2026-01-05T09:00:04+00:00','drover-1');
INSERT INTO "requests" VALUES(10,'key-10','command','{"action":"","answers":[],"at":"2026-01-05T09:00:04+00:00","by":"UANA","channel":"COPS","is":"Request","key":"key-10","kind":"command","locale":"","message":"","text":"vm shutdown db-1","thread":"","trigger":"","value":""}','2026-01-05T09:00:04+00:00','2026-01-05T09:00:04+00:00','drover-1');
INSERT INTO "requests" VALUES(11,'key-11','command','{"action":"","answers":[],"at":"2026-01-05T09:00:04+00:00","by":"UANA","channel":"COPS","is":"Request","key":"key-11","kind":"command","locale":"","message":"","text":"vm clone off-1 clone-1","thread":"","trigger":"","value":""}','2026-01-05T09:00:04+00:00','2026-01-05T09:00:04+00:00','drover-1');
INSERT INTO "requests" VALUES(12,'key-12','command','{"action":"","answers":[],"at":"2026-01-05T09:00:04+00:00","by":"UANA","channel":"COPS","is":"Request","key":"key-12","kind":"command","locale":"","message":"","text":"vm disk add db-1 10G","thread":"","trigger":"","value":""}','2026-01-05T09:00:04+00:00','2026-01-05T09:00:04+00:00','drover-1');
INSERT INTO "requests" VALUES(13,'key-13','command','{"action":"","answers":[],"at":"2026-01-05T09:00:04+00:00","by":"UANA","channel":"COPS","is":"Request","key":"key-13","kind":"command","locale":"","message":"","text":"vm nic add db-1 br0","thread":"","trigger":"","value":""}','2026-01-05T09:00:04+00:00','2026-01-05T09:00:04+00:00','drover-1');
INSERT INTO "requests" VALUES(14,'key-14','command','{"action":"","answers":[],"at":"2026-01-05T09:00:04+00:00","by":"UANA","channel":"COPS","is":"Request","key":"key-14","kind":"command","locale":"","message":"","text":"vm force-off db-1","thread":"","trigger":"","value":""}','2026-01-05T09:00:04+00:00','2026-01-05T09:00:04+00:00','drover-1');
INSERT INTO "requests" VALUES(15,'key-15','command','{"action":"","answers":[],"at":"2026-01-05T09:00:04+00:00","by":"UANA","channel":"COPS","is":"Request","key":"key-15","kind":"command","locale":"","message":"","text":"vm snapshot create db-1 before-upgrade --reason \"safe\"","thread":"","trigger":"","value":""}','2026-01-05T09:00:04+00:00','2026-01-05T09:00:04+00:00','drover-1');
INSERT INTO "requests" VALUES(16,'key-16','command','{"action":"","answers":[],"at":"2026-01-05T09:00:04+00:00","by":"UANA","channel":"COPS","is":"Request","key":"key-16","kind":"command","locale":"","message":"","text":"vm create new-1 --memory 1G","thread":"","trigger":"","value":""}','2026-01-05T09:00:04+00:00','2026-01-05T09:00:04+00:00','drover-1');
INSERT INTO "requests" VALUES(17,'key-17','command','{"action":"","answers":[],"at":"2026-01-05T09:00:04+00:00","by":"UANA","channel":"COPS","is":"Request","key":"key-17","kind":"command","locale":"","message":"","text":"vm delete off-1 --reason \"old\"","thread":"","trigger":"","value":""}','2026-01-05T09:00:04+00:00','2026-01-05T09:00:04+00:00','drover-1');
INSERT INTO "requests" VALUES(18,'key-18','command','{"action":"","answers":[],"at":"2026-01-05T09:00:04+00:00","by":"UANA","channel":"COPS","is":"Request","key":"key-18","kind":"command","locale":"","message":"","text":"vm tag db-1 tier=gold","thread":"","trigger":"","value":""}','2026-01-05T09:00:04+00:00','2026-01-05T09:00:04+00:00','drover-1');
INSERT INTO "requests" VALUES(19,'key-19','command','{"action":"","answers":[],"at":"2026-01-05T09:00:04+00:00","by":"UANA","channel":"COPS","is":"Request","key":"key-19","kind":"command","locale":"","message":"","text":"vm resize db-1 --memory 4G","thread":"","trigger":"","value":""}','2026-01-05T09:00:04+00:00','2026-01-05T09:00:04+00:00','drover-1');
INSERT INTO "requests" VALUES(20,'key-20','command','{"action":"","answers":[],"at":"2026-01-05T09:00:04+00:00","by":"UANA","channel":"COPS","is":"Request","key":"key-20","kind":"command","locale":"","message":"","text":"balance caps web-1 --cores 1.5","thread":"","trigger":"","value":""}','2026-01-05T09:00:04+00:00','2026-01-05T09:00:04+00:00','drover-1');
INSERT INTO "requests" VALUES(21,'key-21','command','{"action":"","answers":[],"at":"2026-01-05T09:00:04+00:00","by":"UANA","channel":"COPS","is":"Request","key":"key-21","kind":"command","locale":"","message":"","text":"host rolling --command reboot","thread":"","trigger":"","value":""}','2026-01-05T09:00:04+00:00','2026-01-05T09:00:04+00:00','drover-1');
INSERT INTO "requests" VALUES(22,'key-22','command','{"action":"","answers":[],"at":"2026-01-05T09:00:04+00:00","by":"UANA","channel":"COPS","is":"Request","key":"key-22","kind":"command","locale":"","message":"","text":"host drain host-a","thread":"","trigger":"","value":""}','2026-01-05T09:00:04+00:00','2026-01-05T09:00:04+00:00','drover-1');
INSERT INTO "requests" VALUES(23,'key-23','command','{"action":"","answers":[],"at":"2026-01-05T09:00:04+00:00","by":"UANA","channel":"COPS","is":"Request","key":"key-23","kind":"command","locale":"","message":"","text":"vm limit vm-1 1.5","thread":"","trigger":"","value":""}','2026-01-05T09:00:04+00:00','2026-01-05T09:00:04+00:00','drover-1');
INSERT INTO "requests" VALUES(24,'key-24','form','{"action":"op.deny","answers":[["why","not today"]],"at":"2026-01-05T09:00:04+00:00","by":"UCARLA","channel":"","is":"Request","key":"key-24","kind":"form","locale":"","message":"","text":"","thread":"","trigger":"","value":"op-12:0b9734e0c63e7ee5"}','2026-01-05T09:00:04+00:00','2026-01-05T09:00:04+00:00','drover-1');
INSERT INTO "requests" VALUES(25,'key-25','click','{"action":"op.withdraw","answers":[],"at":"2026-01-05T09:00:04+00:00","by":"UANA","channel":"CAPPROVALS","is":"Request","key":"key-25","kind":"click","locale":"","message":"","text":"","thread":"","trigger":"key-25","value":"op-4:b37ede34f04b1e0d"}','2026-01-05T09:00:04+00:00','2026-01-05T09:00:04+00:00','drover-1');
CREATE TABLE rollups (
	entity INTEGER NOT NULL, 
	span INTEGER NOT NULL, 
	at BIGINT NOT NULL, 
	count INTEGER NOT NULL, 
	cpu_mean BIGINT, 
	cpu_p95 BIGINT, 
	cpu_peak BIGINT, 
	wait_mean BIGINT, 
	wait_p95 BIGINT, 
	wait_peak BIGINT, 
	memory_mean BIGINT, 
	memory_p95 BIGINT, 
	memory_peak BIGINT, 
	disk_mean BIGINT, 
	disk_p95 BIGINT, 
	disk_peak BIGINT, 
	net_mean BIGINT, 
	net_p95 BIGINT, 
	net_peak BIGINT, 
	space_mean BIGINT, 
	space_p95 BIGINT, 
	space_peak BIGINT, 
	PRIMARY KEY (entity, span, at), 
	FOREIGN KEY(entity) REFERENCES measured (id)
)
 WITHOUT ROWID

;
CREATE INDEX requests_waiting ON requests (arrived) WHERE handled_at IS NULL;
CREATE INDEX ix_operations_state ON operations (state);
CREATE INDEX ix_operations_requester ON operations (requester);
COMMIT;
