"""Testing code that is written with Holdfast: a pytest plugin, mocks, replay checks, idempotency checks."""

from holdfast.authoring.depends import override as override
from holdfast.authoring.registry import fresh_registry as fresh_registry
from holdfast.testing.cancel_everywhere import CancelDifference as CancelDifference
from holdfast.testing.cancel_everywhere import CancelReport as CancelReport
from holdfast.testing.cancel_everywhere import cancel_everywhere as cancel_everywhere
from holdfast.testing.chaos import chaos as chaos
from holdfast.testing.clock import fast_forward as fast_forward
from holdfast.testing.crash_everywhere import CrashDifference as CrashDifference
from holdfast.testing.crash_everywhere import CrashReport as CrashReport
from holdfast.testing.crash_everywhere import crash_everywhere as crash_everywhere
from holdfast.testing.crashes import CrashPoint as CrashPoint
from holdfast.testing.debug import debug_run as debug_run
from holdfast.testing.executor_contract import ContractCheck as ContractCheck
from holdfast.testing.executor_contract import ExecutorCase as ExecutorCase
from holdfast.testing.executor_contract import executor_contract as executor_contract
from holdfast.testing.fake_llm import FakeLLM as FakeLLM
from holdfast.testing.idempotency import check_idempotent as check_idempotent
from holdfast.testing.llm_answers import LLMAnswer as LLMAnswer
from holdfast.testing.llm_answers import LLMFault as LLMFault
from holdfast.testing.llm_answers import LLMToolCall as LLMToolCall
from holdfast.testing.llm_answers import LLMUsage as LLMUsage
from holdfast.testing.llm_limits import LLMRateLimit as LLMRateLimit
from holdfast.testing.llm_request import LLMRequest as LLMRequest
from holdfast.testing.mocks import StepCall as StepCall
from holdfast.testing.mocks import StepMock as StepMock
from holdfast.testing.mocks import StepMocks as StepMocks
from holdfast.testing.mocks import mock_step as mock_step
from holdfast.testing.mocks import mock_steps as mock_steps
from holdfast.testing.recorded import RecordedRun as RecordedRun
from holdfast.testing.recorded import RecordedStep as RecordedStep
from holdfast.testing.recorded import check_recorded as check_recorded
from holdfast.testing.recorded import recorded_steps as recorded_steps
from holdfast.testing.replay import ReplayDiffers as ReplayDiffers
from holdfast.testing.replay import Replayed as Replayed
from holdfast.testing.replay import replay_check as replay_check
from holdfast.testing.replay import replay_report as replay_report
from holdfast.testing.replay import save_history as save_history
from holdfast.testing.replay_runs import ReplayedRuns as ReplayedRuns
from holdfast.testing.replay_runs import replay_files as replay_files
from holdfast.testing.replay_runs import replay_runs as replay_runs

__all__ = [
    "CancelDifference",
    "CancelReport",
    "ContractCheck",
    "CrashDifference",
    "CrashPoint",
    "CrashReport",
    "ExecutorCase",
    "FakeLLM",
    "LLMAnswer",
    "LLMFault",
    "LLMRateLimit",
    "LLMRequest",
    "LLMToolCall",
    "LLMUsage",
    "RecordedRun",
    "RecordedStep",
    "ReplayDiffers",
    "Replayed",
    "ReplayedRuns",
    "StepCall",
    "StepMock",
    "StepMocks",
    "cancel_everywhere",
    "chaos",
    "check_idempotent",
    "check_recorded",
    "crash_everywhere",
    "debug_run",
    "executor_contract",
    "fast_forward",
    "fresh_registry",
    "mock_step",
    "mock_steps",
    "override",
    "recorded_steps",
    "replay_check",
    "replay_files",
    "replay_report",
    "replay_runs",
    "save_history",
]
