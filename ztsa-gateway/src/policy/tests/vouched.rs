//! Whose word a fact is, as policies see it.

use super::answers::check;

#[test]
fn a_policy_can_ask_who_stands_behind_a_fact() {
    check(
        r#"
permit (principal, action, resource);
@id("vouched") @code("posture.disk_root") forbid (principal, action, resource == App::"db-prod")
unless { context.device.posture.disk_root.state == "pass" && context.device.posture.disk_root.assurance == "third_party" };
@id("compliant") forbid (principal, action, resource == App::"wiki")
unless { context.device.posture.device_compliant.state == "pass" };
@id("own-word") forbid (principal, action, resource == App::"payroll")
when { context.device.posture.edr.assurance != "self" };
"#,
        r#"
[[case]]
app = "db-prod"
posture = { "disk.root" = { state = "pass", assurance = "third_party" } }
expect = "allow"
[[case]]
app = "db-prod"
posture = { "disk.root" = "pass" }
expect = "deny"
code = "posture.disk_root"
[[case]]
app = "db-prod"
posture = { "disk.root" = { state = "fail", assurance = "third_party" } }
expect = "deny"
[[case]]
app = "wiki"
posture = { "device.compliant" = "pass" }
expect = "allow"
[[case]]
app = "wiki"
posture = { "device.compliant" = { state = "pass", assurance = "self" } }
expect = "deny"
[[case]]
app = "payroll"
expect = "allow"
"#,
    );
}
