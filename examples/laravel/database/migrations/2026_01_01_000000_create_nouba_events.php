<?php

use Illuminate\Database\Migrations\Migration;
use Illuminate\Database\Schema\Blueprint;
use Illuminate\Support\Facades\Schema;

return new class extends Migration {
    public function up(): void
    {
        // an event that was handled; its id makes a repetition a conflict
        Schema::create('nouba_events', function (Blueprint $table) {
            $table->string('id')->primary();
            $table->string('type');
            $table->timestamp('handled_at')->useCurrent();
        });
    }

    public function down(): void
    {
        Schema::drop('nouba_events');
    }
};
