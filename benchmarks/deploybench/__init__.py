"""DeployBench: deploy-keyed regression detection on real telemetry, with the judge as a black box."""
