alter table account drop column traces_wiped_at, drop column closed_at;
